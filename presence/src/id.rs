//! Identifiers, each valid by construction: also when decoded from a disk or a peer.

use crate::limits::{DEVICE_MAX_BYTES, NODE_NAME_MAX_BYTES, SESSION_ID_MAX_BYTES, USER_ID_MAX_BYTES};
use alloc::{string::String, sync::Arc};
use bincode::{
    BorrowDecode, Decode, Encode,
    de::{BorrowDecoder, Decoder},
    enc::Encoder,
    error::{DecodeError, EncodeError},
};
use core::{borrow::Borrow, fmt, ops::Deref};

/// Why a text is not an identifier of the kind asked for. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {rule}")]
pub struct InvalidId {
    /// The kind of identifier, as a person reads it: `user id`.
    pub what: &'static str,
    /// The rule that the text breaks, in full.
    pub rule: &'static str,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the rule of this identifier.
            ///
            /// # Errors
            /// [`InvalidId`] with the whole rule when it does not hold.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(Arc::from(text))) } else { Err(InvalidId { what: $what, rule: $rule }) }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl core::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl Encode for $name {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
                (*self.0).encode(encoder)
            }
        }

        impl<C> Decode<C> for $name {
            fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
                let text = String::decode(decoder)?;
                Self::new(&text).map_err(|_| DecodeError::Other($what))
            }
        }

        impl<'de, C> BorrowDecode<'de, C> for $name {
            fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
                Self::decode(decoder)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

identifier!(
    /// A user: 1 to 128 bytes of `A-Z a-z 0-9 . _ ~ : @ + -`, except `.`, `..` and `me`. Source: contract, section 1.
    UserId,
    "user id",
    "must be 1 to 128 bytes of A-Z a-z 0-9 . _ ~ : @ + - and not \".\", \"..\" or \"me\"",
    |text| {
        (1..=USER_ID_MAX_BYTES).contains(&text.len())
            && !matches!(text, "." | ".." | "me")
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~:@+-".contains(&b))
    }
);
identifier!(
    /// A session: URL-safe, at most 64 bytes, unguessable because of who mints it. Source: contract, section 1.
    SessionId,
    "session id",
    "must be 1 to 64 bytes of A-Z a-z 0-9 _ -",
    |text| {
        (1..=SESSION_ID_MAX_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    }
);
identifier!(
    /// The kind of device a session runs on: 1 to 32 bytes of `a-z 0-9 _ -`. Source: contract, section 1.
    Device,
    "device",
    "must be 1 to 32 bytes of a-z 0-9 _ -",
    |text| {
        (1..=DEVICE_MAX_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
    }
);
identifier!(
    /// A node's name: 1 to 64 bytes of `A-Z a-z 0-9 . _ -`.
    NodeName,
    "node name",
    "must be 1 to 64 bytes of A-Z a-z 0-9 . _ -",
    |text| {
        (1..=NODE_NAME_MAX_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    }
);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn user_id_takes_what_the_contract_allows() {
        for good in ["a", "A.b_c~d:e@f+g-h", "Me", "...", &"x".repeat(128)] {
            assert!(UserId::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "me", "a b", "a/b", "ä", "a%", &"x".repeat(129)] {
            assert!(UserId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn device_is_lower_case_only() {
        assert!(Device::new("web-2_b").is_ok());
        assert!(Device::new("Web").is_err());
        assert!(Device::new(&"d".repeat(33)).is_err());
    }

    #[test]
    fn a_decoded_id_is_checked_too() {
        let raw = crate::codec::encode(&"not a user id".to_string());
        assert!(crate::codec::decode::<UserId>(&raw).is_err());
    }
}
