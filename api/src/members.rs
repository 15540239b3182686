//! A JSON object from outside, taken apart member by member: every refusal names the member, and what is left over or
//! comes twice is refused. Bodies and WebSocket frames both come in through here.

use crate::{meta, problem::Problem};
use rollcall_presence::{InvalidId, Meta, UserId, limits};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// No object of the contract has more members.
const MEMBERS_MAX: usize = 16;
/// Integers stay below 2^53, so that every client can hold them. Contract, section 1.
pub(crate) const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The members of an object that were not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Takes `json` apart. What it is said to be (`body`, `frame`) is for people.
    ///
    /// # Errors
    /// 400 for malformed JSON, no object, or a member that comes twice.
    pub(crate) fn parse(json: &'a [u8], what: &str) -> Result<Self, Problem> {
        let text = std::str::from_utf8(json).map_err(|_| Problem::invalid(what, "must be JSON in UTF-8"))?;
        serde_json::from_str(text).map_err(|e| Problem::invalid(what, format_args!("must be a JSON object ({e})")))
    }

    /// The member's JSON; `None` if it is absent or `null`.
    fn raw(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(n, _)| n == name)?;
        let (_, value) = self.0.swap_remove(at);
        (value.get() != "null").then(|| value.get())
    }

    fn parsed<T: DeserializeOwned>(&mut self, name: &str, rule: &str) -> Result<Option<T>, Problem> {
        let Some(json) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(json).map(Some).map_err(|_| Problem::invalid(name, rule))
    }

    /// A text, as long as it may be.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        self.parsed(name, "must be a string")
    }

    /// A text of at most `max` bytes without control characters; `""` is none.
    pub(crate) fn line(&mut self, name: &str, max: usize) -> Result<Option<Box<str>>, Problem> {
        let Some(text) = self.text(name)?.filter(|t| !t.is_empty()) else { return Ok(None) };
        if text.len() > max || text.chars().any(char::is_control) {
            return Err(Problem::invalid(name, format_args!("must be at most {max} bytes without control characters")));
        }
        Ok(Some(text.into()))
    }

    /// One of a few words.
    pub(crate) fn word<T: DeserializeOwned>(&mut self, name: &str, words: &str) -> Result<Option<T>, Problem> {
        self.parsed(name, words)
    }

    /// An integer from `min` to `max`.
    pub(crate) fn integer(&mut self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let rule = || Problem::invalid(name, format_args!("must be an integer from {min} to {max}"));
        let Some(json) = self.raw(name) else { return Ok(None) };
        match serde_json::from_str::<u64>(json).ok().or_else(|| whole(json)) {
            Some(n) if (min..=max).contains(&n) => Ok(Some(n)),
            _ => Err(rule()),
        }
    }

    /// An integer that only comes back to the client.
    pub(crate) fn echo(&mut self, name: &str) -> Result<Option<i64>, Problem> {
        let rule = "must be an integer below 2^53";
        match self.parsed::<i64>(name, rule)? {
            Some(n) if n.unsigned_abs() > INTEGER_MAX => Err(Problem::invalid(name, rule)),
            other => Ok(other),
        }
    }

    /// A free object of at most `max` bytes; none is the empty one.
    pub(crate) fn meta(&mut self, name: &str, max: usize) -> Result<Meta, Problem> {
        match self.raw(name) {
            None => Ok(Meta::empty()),
            Some(json) => meta::compact(json, max).map_err(|e| Problem::invalid(name, e)),
        }
    }

    /// An identifier.
    pub(crate) fn id<T>(&mut self, name: &str, new: fn(&str) -> Result<T, InvalidId>) -> Result<Option<T>, Problem> {
        self.text(name)?.map(|t| new(&t)).transpose().map_err(|e| Problem::invalid(name, e.rule))
    }

    /// A list of user ids, in the order given, duplicates kept; `None` if absent.
    pub(crate) fn users(&mut self, name: &str) -> Result<Option<Vec<UserId>>, Problem> {
        let Some(texts) = self.parsed::<Vec<String>>(name, "must be a list of user ids")? else {
            return Ok(None);
        };
        let ids: Result<Vec<_>, _> = texts.iter().map(|t| UserId::new(t)).collect();
        ids.map(Some).map_err(|e| Problem::invalid(name, e))
    }

    /// Users to watch: a list, or an object with the version known of each. Duplicates count once.
    pub(crate) fn watches(&mut self, name: &str) -> Result<Vec<(UserId, Option<u64>)>, Problem> {
        let rule = "must be a list of user ids, or an object of user ids with the version known of each";
        let watches = match self.raw(name) {
            None => return Err(Problem::invalid(name, "is required")),
            Some(json) => serde_json::from_str::<Watches>(json).map_err(|_| Problem::invalid(name, rule))?,
        };
        let mut users = Vec::with_capacity(watches.0.len());
        for (user, known) in watches.0 {
            if known.is_some_and(|v| v > INTEGER_MAX) {
                return Err(Problem::invalid(name, "a version must be below 2^53"));
            }
            users.push((UserId::new(&user).map_err(|e| Problem::invalid(name, e))?, known));
        }
        users.sort_by(|a, b| a.0.cmp(&b.0));
        users.dedup_by(|later, first| later.0 == first.0);
        bounded(name, users.len(), limits::WATCH_FRAME_MAX_IDS)?;
        Ok(users)
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::invalid(&clipped(name), "is not known here")),
        }
    }
}

/// An integer that is written with a fraction of zero or an exponent, as some encoders do: JSON knows only numbers.
fn whole(json: &str) -> Option<u64> {
    let number: f64 = serde_json::from_str(json).ok()?;
    let exact = number.fract() == 0.0 && (0.0..=INTEGER_MAX as f64).contains(&number);
    // Below 2^53 nothing is lost.
    exact.then_some(number as u64)
}

/// Refuses more than `max` ids in `name`.
pub(crate) fn bounded(name: &str, count: usize, max: usize) -> Result<(), Problem> {
    if count > max { Err(Problem::invalid(name, format_args!("at most {max} ids"))) } else { Ok(()) }
}

/// What a client called something, short enough to be said back.
pub(crate) fn clipped(name: &str) -> String {
    name.chars().take(64).collect()
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl<'de> Visitor<'de> for Take {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                    if members.iter().any(|(n, _)| *n == name) {
                        return Err(serde::de::Error::custom(format_args!("\"{}\" comes twice", clipped(&name))));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Take)
    }
}

struct Watches(Vec<(String, Option<u64>)>);

impl<'de> Deserialize<'de> for Watches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl<'de> Visitor<'de> for Take {
            type Value = Watches;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or an object")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Watches, A::Error> {
                let mut users = Vec::new();
                while let Some(user) = seq.next_element::<String>()? {
                    users.push((user, None));
                }
                Ok(Watches(users))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Watches, A::Error> {
                let mut users = Vec::new();
                while let Some((user, version)) = map.next_entry::<String, u64>()? {
                    users.push((user, Some(version)));
                }
                Ok(Watches(users))
            }
        }
        deserializer.deserialize_any(Take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(json: &str) -> Members<'_> {
        Members::parse(json.as_bytes(), "body").unwrap()
    }

    #[test]
    fn a_member_that_was_not_taken_or_comes_twice_is_refused() {
        assert!(members(r#"{"a":1}"#).finish().unwrap_err().detail.starts_with("a:"));
        assert!(Members::parse(br#"{"a":1,"a":2}"#, "body").unwrap_err().detail.contains("twice"));
        assert!(Members::parse(br#"{"a":1,"\u0061":2}"#, "body").is_err());
    }

    #[test]
    fn null_and_absent_are_the_same() {
        let mut m = members(r#"{"text":null}"#);
        assert_eq!((m.text("text").unwrap(), m.text("other").unwrap()), (None, None));
        m.finish().unwrap();
    }

    #[test]
    fn numbers_out_of_range_and_wrong_types_name_the_member() {
        for bad in ["0", "-1", "1.5", "10", "\"3\"", "1e99", "99999999999999999999"] {
            let json = format!(r#"{{"n":{bad}}}"#);
            assert!(members(&json).integer("n", 1, 9).unwrap_err().detail.starts_with("n:"), "{bad}");
        }
    }

    #[test]
    fn an_integer_may_be_written_as_any_json_number_of_its_value() {
        for five in ["5", "5.0", "0.5e1", "50e-1"] {
            let json = format!(r#"{{"n":{five}}}"#);
            assert_eq!(members(&json).integer("n", 1, 9).unwrap(), Some(5), "{five}");
        }
    }

    #[test]
    fn a_line_is_bounded_in_bytes_and_has_no_control_characters() {
        let json = |text: &str| serde_json::json!({ "t": text }).to_string();
        assert_eq!(members(&json("ü")).line("t", 2).unwrap().as_deref(), Some("ü"));
        assert_eq!(members(&json("")).line("t", 2).unwrap(), None);
        for bad in ["üb", "\n", "\u{7f}", "\u{85}"] {
            assert!(members(&json(bad)).line("t", 2).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_passes() {
        let deep = format!(r#"{{"users":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(members(&deep).watches("users").is_err());
        assert!(members(&deep).users("users").is_err());
        assert!(members(&deep).meta("users", 1_000).is_err());
    }

    #[test]
    fn watches_count_a_user_once_and_keep_the_version() {
        let once = members(r#"{"users":["b","a","b"]}"#).watches("users").unwrap();
        assert_eq!(once.len(), 2);
        let known = members(r#"{"users":{"b":7}}"#).watches("users").unwrap();
        assert_eq!(known[0].1, Some(7));
        for bad in [r#"{"users":{"b":-1}}"#, r#"{"users":[1]}"#, r#"{"users":"b"}"#, r#"{"users":["me"]}"#, "{}"] {
            assert!(members(bad).watches("users").is_err(), "{bad}");
        }
    }
}
