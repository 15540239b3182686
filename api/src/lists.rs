//! Contacts and blocks: the same four calls for both lists. Source: contract, section 6.

use crate::{
    api::Api,
    cursor,
    members::bounded,
    problem::Problem,
    request::{Answered, Call, Need, json, no_content, unexpected},
    service::Page,
};
use axum::extract::{Request, State};
use http::StatusCode;
use rollcall_presence::{Answer, Intent, ListChanges, ListKind, UnixMs, UserId, limits};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Serialize)]
struct Listed<'a> {
    user: &'a UserId,
    added: UnixMs,
}

#[derive(Serialize)]
struct Contacts<'a> {
    contacts: Vec<Listed<'a>>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Blocks<'a> {
    blocks: Vec<Listed<'a>>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Total {
    total: u32,
}

async fn page(list: ListKind, api: Api, request: Request) -> Answered {
    let call = Call::read(api, request, Need::Own)?;
    let user = call.user()?;
    let query = call.query(&["limit", "cursor"])?;
    let after = query.get("cursor").map(|c| cursor::to_user(list, c)).transpose()?;
    call.charge(1)?;
    let Page { items, next } = call.service().list(&user, list, after, query.limit()?).await?;
    let listed = items.iter().map(|(user, added)| Listed { user, added: *added }).collect();
    let next = next.map(|user| cursor::after_user(list, &user));
    match list {
        ListKind::Contacts => json(StatusCode::OK, &Contacts { contacts: listed, next }),
        ListKind::Blocks => json(StatusCode::OK, &Blocks { blocks: listed, next }),
    }
}

/// Refuses the user's own id: nobody is their own contact.
fn another(field: &str, user: &UserId, other: &UserId) -> Result<(), Problem> {
    if user == other { Err(Problem::invalid(field, "must not be the user's own id")) } else { Ok(()) }
}

async fn write(call: &Call, user: &UserId, changes: ListChanges) -> Result<Answer, Problem> {
    let key = call.key()?;
    call.charge(changes.add.len() + changes.remove.len())?;
    Ok(call.service().write(user, Intent::ChangeList(changes), key).await?)
}

async fn add(list: ListKind, api: Api, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    let (user, other) = (call.user()?, call.other()?);
    call.nothing_else()?;
    another("other", &user, &other)?;
    write(&call, &user, ListChanges { list, add: vec![other], remove: Vec::new() }).await?;
    no_content()
}

async fn remove(list: ListKind, api: Api, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    let (user, other) = (call.user()?, call.other()?);
    call.nothing_else()?;
    write(&call, &user, ListChanges { list, add: Vec::new(), remove: vec![other] }).await?;
    no_content()
}

async fn change(list: ListKind, api: Api, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    let user = call.user()?;
    let mut body = call.members()?;
    let add: BTreeSet<UserId> = body.users("add")?.unwrap_or_default().into_iter().collect();
    let remove: BTreeSet<UserId> = body.users("remove")?.unwrap_or_default().into_iter().collect();
    body.finish()?;
    bounded("add and remove together", add.len() + remove.len(), limits::LIST_CHANGE_MAX_IDS)?;
    if let Some(both) = add.intersection(&remove).next() {
        return Err(Problem::invalid("remove", format_args!("{both} is in add too")));
    }
    for (field, ids) in [("add", &add), ("remove", &remove)] {
        ids.iter().try_for_each(|other| another(field, &user, other))?;
    }
    let changes = ListChanges { list, add: add.into_iter().collect(), remove: remove.into_iter().collect() };
    match write(&call, &user, changes).await? {
        Answer::Total(total) => json(StatusCode::OK, &Total { total }),
        other => Err(unexpected(&other)),
    }
}

macro_rules! list_calls {
    ($($list:ident: $page:ident $change:ident $add:ident $remove:ident;)*) => {$(
        pub(crate) async fn $page(State(api): State<Api>, request: Request) -> Answered {
            page(ListKind::$list, api, request).await
        }
        pub(crate) async fn $change(State(api): State<Api>, request: Request) -> Answered {
            change(ListKind::$list, api, request).await
        }
        pub(crate) async fn $add(State(api): State<Api>, request: Request) -> Answered {
            add(ListKind::$list, api, request).await
        }
        pub(crate) async fn $remove(State(api): State<Api>, request: Request) -> Answered {
            remove(ListKind::$list, api, request).await
        }
    )*};
}
list_calls! {
    Contacts: contacts change_contacts add_contact remove_contact;
    Blocks: blocks change_blocks add_block remove_block;
}
