//! The table of all settings: key, meaning, bound and reason, one row each.
//!
//! Rows come from the declarations in [`settings`](crate::settings); loading, validation, the reference page and the example
//! file read them here, so that none can know a setting that another does not.

use crate::settings::{Auth, Cluster, Http, Limits, Log, Node, Peer, Presence, Settings};
use figment::value::Value;
use rollcall_presence::NodeName;

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The section it stands in: `presence`.
    pub section: &'static str,
    /// Its whole name: `presence.grace_ms`.
    pub key: &'static str,
    /// What it is.
    pub what: &'static str,
    /// What it may be.
    pub bound: Bound,
    /// Why its default or bound is what it is.
    pub reason: &'static str,
}

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// An integer from `min` to `max`.
    Integer {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// Of what, `""` for a plain count.
        unit: &'static str,
    },
    /// One of these integers.
    OneOfIntegers(&'static [u64]),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A text that is not empty.
    Text,
    /// A text, or none.
    OptionalText {
        /// One that is valid.
        example: &'static str,
    },
    /// A node's name.
    NodeName,
    /// A path that is not empty.
    Path,
    /// A path, or none.
    OptionalPath {
        /// One that is valid.
        example: &'static str,
    },
    /// `host:port` to listen on; port 0 takes a free one.
    Listen,
    /// `host:port` to listen on, or none.
    OptionalListen {
        /// One that is valid.
        example: &'static str,
    },
    /// `host:port` that others connect to, or none.
    Address {
        /// One that is valid.
        example: &'static str,
    },
    /// A list of `host:port` to connect to.
    Addresses,
    /// A list of web origins, or `*`.
    Origins,
    /// A list of IP addresses.
    IpAddresses,
    /// A list of [keys](crate::AuthKey).
    Keys,
}

impl Bound {
    /// Whether a value is written as plain text, whatever it looks like.
    pub(crate) fn is_text(&self) -> bool {
        !matches!(self, Self::Integer { .. } | Self::OneOfIntegers(_)) && !self.is_list()
    }

    /// Whether it is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self, Self::Addresses | Self::Origins | Self::IpAddresses | Self::Keys)
    }

    /// A valid value where the default is none.
    pub(crate) fn example(&self) -> Option<&'static str> {
        match self {
            Self::OptionalText { example }
            | Self::OptionalPath { example }
            | Self::OptionalListen { example }
            | Self::Address { example } => Some(example),
            _ => None,
        }
    }

    /// The rule, to follow "must be".
    #[must_use]
    pub fn rule(&self) -> String {
        match self {
            Self::Integer { min, max, unit: "" } => format!("{min} to {max}"),
            Self::Integer { min, max, unit } => format!("{min} to {max} {unit}"),
            Self::OneOfIntegers(allowed) => one_of(allowed.iter().map(ToString::to_string)),
            Self::OneOf(allowed) => one_of(allowed.iter().map(|a| format!("\"{a}\""))),
            Self::Text | Self::OptionalText { .. } => "a text that is not empty".into(),
            Self::NodeName => "1 to 64 bytes of A-Z a-z 0-9 . _ -".into(),
            Self::Path | Self::OptionalPath { .. } => "a path".into(),
            Self::Listen | Self::OptionalListen { .. } => "host:port".into(),
            Self::Address { .. } => "host:port with a port other than 0".into(),
            Self::Addresses => "a list of host:port with ports other than 0".into(),
            Self::Origins => "a list of \"*\" or origins like \"https://app.example.net\" without a path".into(),
            Self::IpAddresses => "a list of IP addresses".into(),
            Self::Keys => "a list of keys".into(),
        }
    }

    /// Whether `value`, of the right type already, keeps the rule.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        let integer = || value.to_u128().and_then(|i| u64::try_from(i).ok());
        let text = |valid: fn(&str) -> bool| value.as_str().is_some_and(valid);
        let absent = matches!(value, Value::Empty(..));
        let each = |valid: fn(&str) -> bool| {
            value.as_array().is_some_and(|items| items.iter().all(|i| i.as_str().is_some_and(valid)))
        };
        match self {
            Self::Integer { min, max, .. } => integer().is_some_and(|i| (*min..=*max).contains(&i)),
            Self::OneOfIntegers(allowed) => integer().is_some_and(|i| allowed.contains(&i)),
            Self::OneOf(allowed) => value.as_str().is_some_and(|v| allowed.contains(&v)),
            Self::Text | Self::Path => text(|t| !t.is_empty()),
            Self::OptionalText { .. } | Self::OptionalPath { .. } => absent || text(|t| !t.is_empty()),
            Self::NodeName => text(|t| NodeName::new(t).is_ok()),
            Self::Listen => text(is_listen),
            Self::OptionalListen { .. } => absent || text(is_listen),
            Self::Address { .. } => absent || text(is_address),
            Self::Addresses => each(is_address),
            Self::Origins => each(is_origin),
            Self::IpAddresses => each(|text| text.parse::<std::net::IpAddr>().is_ok()),
            Self::Keys => true, // judged as a whole by `Settings::validate`
        }
    }
}

fn one_of(allowed: impl Iterator<Item = String>) -> String {
    allowed.collect::<Vec<_>>().join(" or ")
}

/// Splits `host:port`; a host with colons stands in brackets.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host.starts_with('[') && host.ends_with(']') && text.parse::<std::net::SocketAddrV6>().is_ok();
    let named = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if (bracketed || named) && digits { Some((host, port.parse().ok()?)) } else { None }
}

fn is_listen(text: &str) -> bool {
    host_and_port(text).is_some()
}

fn is_address(text: &str) -> bool {
    host_and_port(text).is_some_and(|(_, port)| port != 0)
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return text == "*" };
    let host = authority.strip_prefix('[').and_then(|a| a.split_once(']')).map_or(authority, |(host, _)| host);
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._:-[]".contains(&b);
    !scheme.is_empty()
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b))
        && !host.is_empty()
        && authority.bytes().all(plain)
}

/// All settings, section by section.
pub fn table() -> impl Iterator<Item = &'static Row> {
    [Node::ROWS, Http::ROWS, Peer::ROWS, Auth::ROWS, Presence::ROWS, Cluster::ROWS, Limits::ROWS, Log::ROWS]
        .into_iter()
        .flatten()
}

/// The row of `key`.
pub(crate) fn row(key: &str) -> Option<&'static Row> {
    table().find(|r| r.key == key)
}

impl Settings {
    /// The settings as one tree of values, to look rows up in.
    pub(crate) fn as_value(&self) -> Value {
        // Structs of texts, paths, integers and unit variants serialize; a path that is no Unicode does not, and then
        // every row reads as absent and is refused by its bound.
        Value::serialize(self).unwrap_or_else(|_| Value::from(figment::value::Dict::new()))
    }
}

/// `value` as TOML writes it; `none` where it is absent.
pub(crate) fn as_toml(value: &Value) -> String {
    match value {
        Value::Empty(..) => "none".into(),
        present => toml::Value::try_from(present).map(|v| v.to_string()).unwrap_or_else(|_| "none".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_settings_has_a_row_and_every_row_a_field() {
        let Value::Dict(_, sections) = Settings::default().as_value() else { panic!("settings are a tree") };
        let mut fields: Vec<String> = Vec::new();
        for (section, value) in &sections {
            let keys = value.as_dict().unwrap().keys().map(|key| format!("{section}.{key}"));
            fields.extend(keys);
        }
        let mut rows: Vec<String> = table().map(|r| r.key.to_owned()).collect();
        fields.sort();
        rows.sort();
        assert_eq!(fields, rows);
    }

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["127.0.0.1:7700", "localhost:1", "[::1]:7700", "a-b.example.net:65535"] {
            assert!(is_address(good) && is_listen(good), "{good}");
        }
        assert!(is_listen("0.0.0.0:0") && !is_address("0.0.0.0:0"));
        for bad in ["", "7700", ":7700", "host:", "host:65536", "::1:7700", "http://host:1", "host:+1", "[x]:1"] {
            assert!(!is_listen(bad), "{bad}");
        }
    }

    #[test]
    fn origins_have_a_scheme_and_no_path() {
        for good in ["*", "https://app.example.net", "http://localhost:3000", "https://[::1]:8443"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["", "app.example.net", "https://", "https://app.example.net/", "https://App.example.net", "**"] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
