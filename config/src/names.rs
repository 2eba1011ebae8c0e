//! The rules of names and addresses, as `lib/ids` and the system's resolver have them. Text in, yes
//! or no out.

use std::net::IpAddr;

/// Whether `text` is a host name: 1 to 253 letters, digits, `-`, `_` and `.`, beginning with a letter
/// or digit.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && is_label(text, b"-_.")
        && text.as_bytes()[0].is_ascii_alphanumeric()
}

/// Whether `text` is a rack name, like `/default-rack` or `/room-1/rack-7`.
#[must_use]
pub fn is_rack_name(text: &str) -> bool {
    (2..=253).contains(&text.len())
        && text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//")
        && is_label(text, b"-_./")
}

/// Whether `text` is `host:port` of one host: a name, an IPv4 address or an IPv6 address in brackets,
/// and a port from 1 to 65535. `0.0.0.0` and `[::]` are no address that others could connect to.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    digits && port.parse::<u16>().is_ok_and(|port| port != 0) && is_reachable_host(host)
}

fn is_reachable_host(host: &str) -> bool {
    match ip(host) {
        Some(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        None => is_host_name(host),
    }
}

/// Whether `text` is `host:port` to listen on: as [`is_address`], or `0.0.0.0` or `[::]`, for all addresses of the host.
#[must_use]
pub fn is_listen_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    is_address(text)
        || matches!(host, "0.0.0.0" | "[::]") && is_address(&format!("localhost:{port}"))
}

/// Whether the host of `address` is this machine's loopback: `localhost`, `127.x.x.x` or `[::1]`.
#[must_use]
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.eq_ignore_ascii_case("localhost") || ip(host).is_some_and(|ip| ip.is_loopback())
}

fn ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

fn is_label(text: &str, extra: &[u8]) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_that_others_can_connect_to() {
        for good in ["127.0.0.1:7870", "localhost:1", "[::1]:65535", "db-1.example.org:80"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "7870",
            ":7870",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "a b:1",
            "0.0.0.0:7870",
            "[::]:7870",
            "::1:7870",
            "[127.0.0.1]:1",
            "http://h:1",
            "[x]:1",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn a_daemon_may_listen_on_all_addresses_and_on_none_that_is_no_hosts() {
        for good in ["0.0.0.0:7870", "[::]:1", "10.0.0.1:80", "localhost:1"] {
            assert!(is_listen_address(good), "{good}");
        }
        for bad in ["0.0.0.0", "0.0.0.0:0", "[::]:", "::1:7870", "*:7870", "224.0.0.1:1", ""] {
            assert!(!is_listen_address(bad), "{bad}");
        }
    }

    #[test]
    fn loopback_is_the_machine_itself() {
        for yes in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "LocalHost:1"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["10.0.0.1:1", "host-1:1", "[fe80::1]:1", "localhost.example.org:1"] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
