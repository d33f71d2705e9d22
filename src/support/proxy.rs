//! Which proxy a request goes through.
//!
//! By the variables that curl knows: `http_proxy`, `https_proxy` and `all_proxy` with `no_proxy`, in
//! small or capital letters. Nothing for this machine goes through a proxy, whatever they say: a
//! proxy would read what was never meant to leave.

use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use ureq::http::Uri;

/// How long a name may take to be looked up; one that takes longer is none of this machine's.
const LOOK_UP: Duration = Duration::from_secs(2);

/// A proxy's address cannot be used. Does not repeat the address, which may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0} holds no address of a proxy; it should be like `http://HOST:PORT`, or unset it")]
pub struct ProxyError(&'static str);

/// The proxy for an address.
#[derive(Debug, Clone)]
pub struct Via {
    pub proxy: ureq::Proxy,
    /// `host:port`, without credentials.
    pub host: String,
    /// The environment variable that names it.
    pub variable: &'static str,
}

/// The proxy that requests to `address` go through; `None` for this machine, and for what
/// `NO_PROXY` lists.
///
/// # Errors
/// The environment names a proxy by something that is no address.
pub fn for_address(address: &Uri) -> Result<Option<Via>, ProxyError> {
    choose(address, |name| std::env::var(name).ok(), is_this_machine)
}

fn choose(
    address: &Uri,
    variable: impl Fn(&str) -> Option<String>,
    is_here: impl Fn(&str) -> bool,
) -> Result<Option<Via>, ProxyError> {
    let names: [&'static str; 4] = match address.scheme_str() {
        Some("https") => ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        _ => ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    };
    let value = |name: &str| variable(name).map(|value| value.trim().to_owned());
    let given = |name| Some((name, value(name).filter(|value| !value.is_empty())?));
    let Some((variable, text)) = names.into_iter().find_map(given) else { return Ok(None) };
    let host = address.host().unwrap_or_default();
    let excepted = ["no_proxy", "NO_PROXY"].into_iter().find_map(value).unwrap_or_default();
    if is_excepted(host, address.port_u16(), &excepted) || is_here(host) {
        return Ok(None);
    }
    let proxy = ureq::Proxy::new(&text).map_err(|_| ProxyError(variable))?;
    let host = format!("{}:{}", proxy.host(), proxy.port());
    Ok(Some(Via { proxy, host, variable }))
}

/// Whether a host is this machine: by its name, or because its name stands for an address of ours.
pub fn is_this_machine(host: &str) -> bool {
    let host = bare(host);
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    if let Ok(address) = host.parse() {
        return is_ours(address);
    }
    let (sender, receiver) = mpsc::channel();
    // The system's resolver has no limit of its own.
    thread::spawn(move || {
        let found = (host.as_str(), 0).to_socket_addrs();
        let addresses: Vec<IpAddr> =
            found.map(|found| found.map(|found| found.ip()).collect()).unwrap_or_default();
        let _ = sender.send(!addresses.is_empty() && addresses.into_iter().all(is_ours));
    });
    receiver.recv_timeout(LOOK_UP).unwrap_or(false)
}

/// Whether an address is one of this machine's: only those can be bound.
fn is_ours(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified() || UdpSocket::bind((address, 0)).is_ok()
}

/// A host's name in small letters, without brackets and the final dot.
fn bare(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether `no_proxy` lists the host: names (which include what is below them), addresses, networks
/// like `10.0.0.0/8`, `*`; each with or without a port, separated by commas or spaces.
fn is_excepted(host: &str, port: Option<u16>, no_proxy: &str) -> bool {
    let host = bare(host);
    let entries = no_proxy.split(|c: char| c == ',' || c.is_whitespace());
    entries.filter(|entry| !entry.is_empty()).any(|entry| {
        let (name, only_port) = with_port(entry);
        let fits_port = only_port.is_none_or(|only| Some(only) == port);
        fits_port && covers(&bare(name), &host)
    })
}

/// An entry's name and port. A colon in an IPv6 address without brackets is no port's.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn covers(entry: &str, host: &str) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        let (network, bits) = entry.split_once('/').unwrap_or((entry, ""));
        let Ok(network) = bare(network).parse::<IpAddr>() else { return false };
        return is_within(address.to_canonical(), network.to_canonical(), bits.parse().ok());
    }
    let name = entry.trim_start_matches('*').trim_start_matches('.');
    !name.is_empty()
        && host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether an address lies in a network whose first `bits` bits are given; all of them if absent.
fn is_within(address: IpAddr, network: IpAddr, bits: Option<u32>) -> bool {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((address, length), (network, same)) = (number(address), number(network));
    let free = length - bits.unwrap_or(length).min(length);
    length == same && address.checked_shr(free) == network.checked_shr(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(address: &str, variables: &[(&str, &str)]) -> Result<Option<String>, ProxyError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let here = |host: &str| ["127.0.0.1", "[::1]", "localhost"].contains(&host);
        Ok(choose(&address.parse().unwrap(), variable, here)?.map(|via| via.host))
    }

    #[test]
    fn the_variable_of_the_scheme_comes_first() {
        let all = [
            ("HTTP_PROXY", "http://a:1"),
            ("https_proxy", "http://user:secret@b"),
            ("all_proxy", "socks5://c"),
        ];
        assert_eq!(chosen("http://gpu1/v1", &all), Ok(Some("a:1".to_owned())));
        assert_eq!(chosen("https://gpu1/v1", &all), Ok(Some("b:80".to_owned())));
        assert_eq!(chosen("https://gpu1/v1", &all[2..]), Ok(Some("c:1080".to_owned())));
        assert_eq!(chosen("https://gpu1/v1", &all[..1]), Ok(None));
        assert_eq!(
            chosen("http://gpu1/v1", &[("http_proxy", " "), all[0]]),
            Ok(Some("a:1".into()))
        );
    }

    #[test]
    fn nothing_for_this_machine_goes_through_a_proxy() {
        let proxy = [("HTTP_PROXY", "http://a:1"), ("NO_PROXY", "")];
        for address in ["http://127.0.0.1:8000/v1", "http://[::1]/v1", "http://localhost/v1"] {
            assert_eq!(chosen(address, &proxy), Ok(None), "{address}");
        }
        for host in [
            "localhost",
            "LOCALHOST.",
            "llm.localhost",
            "127.0.0.1",
            "127.8.9.1",
            "[::1]",
            "0.0.0.0",
            "::",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["192.0.2.1", "[2001:db8::1]", "127.0.0.1.invalid", "localhost.invalid"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    /// As in `/etc/hosts`, and as `inet_aton` reads short forms.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_stands_for_this_machine_is_this_machine() {
        assert!(is_this_machine("127.1"));
    }

    #[test]
    fn no_proxy_lists_names_addresses_and_networks() {
        let list =
            "example.org, .corp *.lan  10.0.0.0/8,192.168.1.7 fd00::/8,gpu1:8000,[2001:db8::1]";
        for (host, port, expected) in [
            ("example.org", None, true),
            ("a.example.org", None, true),
            ("badexample.org", None, false),
            ("x.corp", None, true),
            ("y.lan", None, true),
            ("10.200.3.4", Some(80), true),
            ("11.0.0.1", None, false),
            ("192.168.1.7", None, true),
            ("192.168.1.70", None, false),
            ("[fd12::1]", None, true),
            ("[fe80::1]", None, false),
            ("gpu1", Some(8000), true),
            ("gpu1", Some(8001), false),
            ("[2001:db8::1]", Some(1), true),
        ] {
            assert_eq!(is_excepted(host, port, list), expected, "{host}");
        }
        assert!(is_excepted("anything", None, "*"));
        assert!(!is_excepted("anything", None, ""));
        assert!(is_within("0.0.0.0".parse().unwrap(), "255.1.1.1".parse().unwrap(), Some(0)));
    }

    #[test]
    fn an_address_that_is_none_is_an_error_that_does_not_repeat_it() {
        let error = chosen("http://gpu1/v1", &[("HTTP_PROXY", "ftp://me:secret@x")]).unwrap_err();
        assert!(error.to_string().contains("HTTP_PROXY") && !error.to_string().contains("secret"));
    }
}
