//! What is said of a route, and the operation of the document that it becomes: parameters of the path, headers and refusals that all
//! calls of a kind have in common are added here.

use super::{
    schema::{Shape, integer_or_null, named, pattern, string},
    shapes::USER,
};
use crate::{
    problem::Code,
    request::{BYTES, Need},
};
use rollcall_presence::limits;
use std::collections::BTreeMap;
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, Required, Response, ResponseBuilder,
    link::{Link, LinkBuilder},
    path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    security::SecurityRequirement,
};

/// The security scheme's name.
pub(super) const BEARER: &str = "bearer";
/// A user in a path: `me` is the token's own.
const USER_IN_PATH: &str = "^(?!\\.{1,2}$)[A-Za-z0-9._~:@+-]{1,128}$";

/// What an answer carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Carries {
    Nothing,
    /// JSON of this name in the document.
    Json(&'static str),
    /// Something of this media type.
    Other(&'static str),
}

/// What is said of a route.
pub(crate) struct Said {
    pub(crate) id: &'static str,
    tag: &'static str,
    summary: &'static str,
    text: String,
    need: Option<Need>,
    parameters: Vec<Parameter>,
    body: Option<(&'static str, bool)>,
    /// Whether it has a body that is no JSON.
    takes_bytes: bool,
    answers: Vec<(u16, &'static str, Carries, &'static [&'static str])>,
    refusals: Vec<Code>,
    /// Operations on the session that it made.
    leads_to: &'static [&'static str],
}

/// A call under a token; whoever asks has these to fear.
pub(super) fn call(need: Need, tag: &'static str, id: &'static str, summary: &'static str) -> Said {
    let refusals = vec![
        Code::InvalidRequest,
        Code::HeadTooLarge,
        Code::Unauthenticated,
        Code::Forbidden,
        Code::RateLimited,
        Code::Internal,
        Code::Unavailable,
    ];
    Said { need: Some(need), refusals, ..page(id, summary) }.tagged(tag)
}

/// What is answered to everybody.
pub(super) fn page(id: &'static str, summary: &'static str) -> Said {
    Said {
        id,
        tag: "pages",
        summary,
        text: String::new(),
        need: None,
        parameters: Vec::new(),
        body: None,
        takes_bytes: false,
        answers: Vec::new(),
        refusals: vec![Code::Internal],
        leads_to: &[],
    }
}

impl Said {
    fn tagged(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    pub(super) fn answers(mut self, status: u16, text: &'static str, carries: Carries) -> Self {
        self.answers.push((status, text, carries, &[]));
        self
    }

    /// The same with headers of its own.
    pub(super) fn answers_with(
        mut self,
        status: u16,
        text: &'static str,
        carries: Carries,
        headers: &'static [&'static str],
    ) -> Self {
        self.answers.push((status, text, carries, headers));
        self
    }

    pub(super) fn refuses(mut self, code: Code) -> Self {
        self.refusals.push(code);
        self
    }

    /// Makes a session, on which these operations go on.
    pub(super) fn leads_to(mut self, operations: &'static [&'static str]) -> Self {
        self.leads_to = operations;
        self
    }

    /// It may have a body, and whoever sends another kind is refused.
    pub(super) fn body(mut self, shape: &'static str, required: bool) -> Self {
        self.body = Some((shape, required));
        self.refuses(Code::UnsupportedMediaType).refuses(Code::PayloadTooLarge).refuses(Code::Late)
    }

    /// It has a body that is no JSON.
    pub(super) fn bytes_body(mut self) -> Self {
        self.takes_bytes = true;
        self.refuses(Code::UnsupportedMediaType).refuses(Code::PayloadTooLarge).refuses(Code::Late)
    }

    /// A write that takes no body: an empty object passes.
    pub(super) fn bare(self) -> Self {
        self.refuses(Code::UnsupportedMediaType).refuses(Code::PayloadTooLarge).refuses(Code::Late)
    }

    /// A write of a user that may be repeated under a key.
    pub(super) fn keyed(self) -> Self {
        let key = pattern(
            "^[!-~]+$",
            1,
            limits::KEY_MAX_BYTES,
            "Makes a repetition within 10 minutes have one effect and one answer.",
        );
        self.parameter(ParameterIn::Header, "Idempotency-Key", key).refuses(Code::Conflict)
    }

    pub(super) fn query(self, name: &'static str, shape: Shape) -> Self {
        self.parameter(ParameterIn::Query, name, shape)
    }

    pub(super) fn parameter(mut self, place: ParameterIn, name: &'static str, shape: Shape) -> Self {
        self.parameters.push(ParameterBuilder::new().name(name).parameter_in(place).schema(Some(shape)).build());
        self
    }

    /// A parameter without which there is nothing to do.
    pub(super) fn requires(mut self, place: ParameterIn, name: &'static str, shape: Shape) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(Required::True);
        self.parameters.push(parameter.schema(Some(shape)).build());
        self
    }

    /// A page of a list.
    pub(super) fn paged(self) -> Self {
        let limit = integer_or_null(1, limits::PAGE_MAX as u64, "How many at most; 100 if not given.");
        let limit = match limit {
            utoipa::openapi::RefOr::T(utoipa::openapi::Schema::Object(mut object)) => {
                object.schema_type = utoipa::openapi::schema::Type::Integer.into();
                object.default = Some((limits::PAGE_DEFAULT as u64).into());
                object.into()
            }
            other => other,
        };
        self.query("limit", limit).query("cursor", string("The next of the page before: opaque."))
    }

    /// The operation at `path`.
    pub(super) fn operation(self, path: &str) -> Operation {
        let reach = match self.need {
            None => "",
            Some(Need::Token) => "Any token.",
            Some(Need::Own) => "The user's own token, or scope service.",
            Some(Need::Service) => "Scope service.",
            Some(Need::Admin) => "Scope admin.",
        };
        let text = [self.text.trim(), reach].join(" ");
        let mut operation =
            OperationBuilder::new().operation_id(Some(self.id)).tag(self.tag).summary(Some(self.summary));
        if !text.trim().is_empty() {
            operation = operation.description(Some(text.trim()));
        }
        for parameter in in_path(path).into_iter().chain(self.parameters) {
            operation = operation.parameter(parameter);
        }
        let kept =
            string("Kept and said back if it is 1 to 128 of A-Z a-z 0-9 - _ . : / + = @ ~; another one is replaced.");
        let request_id =
            ParameterBuilder::new().name("X-Request-Id").parameter_in(ParameterIn::Header).schema(Some(kept));
        operation = operation.parameter(request_id.build());
        if let Some((shape, required)) = self.body {
            let content = ContentBuilder::new().schema(Some(named(shape))).build();
            let required = if required { Required::True } else { Required::False };
            let body = RequestBodyBuilder::new().content("application/json", content).required(Some(required));
            operation = operation.request_body(Some(body.build()));
        }
        if self.takes_bytes {
            let content = ContentBuilder::new().schema(Some(string("As the media type has it."))).build();
            let body = RequestBodyBuilder::new().content(BYTES, content).required(Some(Required::False));
            operation = operation.request_body(Some(body.build()));
        }
        for (status, text, carries, headers) in self.answers {
            let mut response = answered(text, carries, headers);
            if status == 201 {
                response.links.extend(self.leads_to.iter().map(|id| ((*id).to_owned(), leads_to(id).into())));
            }
            operation = operation.response(status.to_string(), response);
        }
        for (status, codes) in by_status(&self.refusals) {
            operation = operation.response(status.to_string(), refused(&codes));
        }
        match self.need {
            Some(_) => operation.security(SecurityRequirement::new(BEARER, Vec::<String>::new())).build(),
            None => operation.build(),
        }
    }
}

fn leads_to(operation: &str) -> Link {
    let link = LinkBuilder::new().operation_id(operation).parameter("user", "$request.path.user");
    link.parameter("session", "$response.body#/session").build()
}

fn in_path(path: &str) -> Vec<Parameter> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| {
        let shape = match name {
            "user" => pattern(USER_IN_PATH, 1, limits::USER_ID_MAX_BYTES, "A user id, or me: the token's own."),
            "other" => pattern(USER, 1, limits::USER_ID_MAX_BYTES, "A user id; not me."),
            "session" => pattern("^[A-Za-z0-9._~-]+$", 1, limits::SESSION_ID_MAX_BYTES, "A session's id: opaque."),
            "name" => pattern("^(?!\\.{1,2}$)[A-Za-z0-9._-]+$", 1, limits::NODE_NAME_MAX_BYTES, "A node's name."),
            _ => pattern("^[a-z.]+$", 1, 64, "A file of the page."),
        };
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(shape))
            .build()
    };
    names.map(parameter).collect()
}

fn by_status(codes: &[Code]) -> BTreeMap<u16, Vec<Code>> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status().as_u16()).or_default().push(*code);
    }
    by_status
}

fn header(name: &str) -> utoipa::openapi::Header {
    let (text, shape) = match name {
        "Retry-After" => ("When to try again, seconds.", super::schema::integer(1, 86_400, "Seconds.")),
        "WWW-Authenticate" => ("What to come with.", super::schema::exactly("Bearer")),
        "Location" => ("Where it is.", string("A path.")),
        "Allow" => ("The path's methods.", string("Methods.")),
        "X-Request-Id" => ("The client's own, or a new one.", string("Without spaces.")),
        "Cache-Control" => ("Nothing of it may be kept.", string("no-store.")),
        "Sec-WebSocket-Protocol" => ("rollcall.v1, if it was offered.", string("A subprotocol.")),
        _ => ("As HTTP has it.", string("As HTTP has it.")),
    };
    HeaderBuilder::new().schema(Some(shape)).description(Some(text)).build()
}

fn with_headers(mut response: ResponseBuilder, names: &[&str]) -> Response {
    for name in ["X-Request-Id", "Cache-Control"].iter().chain(names) {
        response = response.header(*name, header(name));
    }
    response.build()
}

fn answered(text: &str, carries: Carries, headers: &[&str]) -> Response {
    let response = ResponseBuilder::new().description(text);
    let response = match carries {
        Carries::Nothing => response,
        Carries::Json(shape) => {
            response.content("application/json", ContentBuilder::new().schema(Some(named(shape))).build())
        }
        Carries::Other(kind) => {
            response.content(kind, ContentBuilder::new().schema(Some(string("As the media type has it."))).build())
        }
    };
    with_headers(response, headers)
}

fn refused(codes: &[Code]) -> Response {
    let names: Vec<String> = codes.iter().map(|code| format!("`{}` ({})", code.name(), code.title())).collect();
    let response = ResponseBuilder::new().description(names.join(", "));
    let response =
        response.content("application/problem+json", ContentBuilder::new().schema(Some(named("Problem"))).build());
    let mut headers: Vec<&str> = Vec::new();
    if codes.contains(&Code::Unauthenticated) {
        headers.push("WWW-Authenticate");
    }
    if codes.contains(&Code::RateLimited) || codes.contains(&Code::Unavailable) {
        headers.push("Retry-After");
    }
    with_headers(response, &headers)
}
