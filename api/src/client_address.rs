//! Whose address a request comes from: the peer's, or the one that a trusted proxy names in `X-Forwarded-For`.

use http::{HeaderMap, HeaderName};
use std::net::IpAddr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Addresses of the header that are looked at, from its end: a chain of proxies is short.
const HOPS_MAX: usize = 16;

/// The last address on the way here that is none of `trusted`. What cannot be read ends the way: nothing before it is believed.
pub(crate) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let mut client = peer.to_canonical();
    if trusted.is_empty() || !trusted.contains(&client) {
        return client;
    }
    let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim);
    for hop in hops.take(HOPS_MAX) {
        match hop.parse::<IpAddr>() {
            Ok(address) => client = address.to_canonical(),
            Err(_) => break,
        }
        if !trusted.contains(&client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(peer: &str, forwarded: &[&'static str]) -> String {
        let trusted = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let headers = forwarded.iter().map(|f| (FORWARDED_FOR, HeaderValue::from_static(f)));
        let mut all = HeaderMap::new();
        headers.for_each(|(name, value)| {
            all.append(name, value);
        });
        of(peer.parse().unwrap(), &all, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_its_last_foreign_hop() {
        assert_eq!(client("192.0.2.9", &["198.51.100.1"]), "192.0.2.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.7, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.7", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.7, garbage"]), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
    }
}
