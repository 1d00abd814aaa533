//! The name servers of the operating system, as its own resolver reads them: what it does not know there it ignores.

use std::time::Duration;

use hickory_resolver::{ResolveError, system_conf::read_system_conf};

use super::source::Way;

/// Shortest time for an answer: in a file, 0 means the least there is.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Those that are named now. Reads a file.
pub(super) fn read() -> Result<Way, ResolveError> {
    let read = read_system_conf().or_else(|error| known().ok_or(error));
    read.map(|(config, mut options)| {
        options.timeout = options.timeout.max(MIN_TIMEOUT);
        (config, options)
    })
}

#[cfg(not(unix))]
fn known() -> Option<Way> {
    None
}

#[cfg(unix)]
fn known() -> Option<Way> {
    use std::io::Read;
    let (file, mut text) = (std::fs::File::open("/etc/resolv.conf").ok()?, Vec::new());
    file.take(MAX_FILE).read_to_end(&mut text).ok()?;
    parse(&String::from_utf8_lossy(&text))
}

#[cfg(unix)]
const MAX_FILE: u64 = 64 << 10;

/// What is known of a file, word by word.
#[cfg(unix)]
fn parse(text: &str) -> Option<Way> {
    use hickory_resolver::system_conf::parse_resolv_conf;
    let is_known =
        |line: &str| parse_resolv_conf(format!("nameserver 127.0.0.1\n{line}\n")).is_ok();
    let mut all = String::new();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let Some((keyword, rest)) = line.trim().split_once(char::is_whitespace) else { continue };
        let words = rest.split_whitespace().map(|word| format!("{keyword} {word}"));
        let mut known = words.filter(|line| is_known(line));
        match keyword {
            // One line counts, with all its words.
            "search" => {
                let words = known.map(|line| line[keyword.len()..].to_owned());
                all.push_str(&format!("search{}\n", words.collect::<String>()));
            }
            "options" => known.for_each(|line| all.push_str(&format!("{line}\n"))),
            // The first word is the value.
            _ => known.next().into_iter().for_each(|line| all.push_str(&format!("{line}\n"))),
        }
    }
    parse_resolv_conf(all).ok()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    // hickory-dns/resolv-conf#41
    #[test]
    fn what_is_not_known_costs_nothing_that_is() {
        for unknown in [
            "options retrans:1 retry:1",
            "family inet",
            "nameserver not-an-ip",
            "nameserver",
            "NAMESERVER 10.0.0.9",
            "options ndots:x",
            "reload-period 5",
            "search \u{fc}..example",
        ] {
            let text = format!(
                "# \u{fffd}\n{unknown}\r\nsearch a.example x..y b_c.example . ; of a tool\n\tnameserver \
                 10.0.0.1 lo0\noptions ndots:5 {unknown} edns0\nnameserver fe80::1%eth0\n"
            );
            let (config, options) = parse(&text).unwrap();
            let search: Vec<_> = config.search().iter().map(ToString::to_string).collect();
            assert_eq!(search, ["a.example", "b_c.example", "."], "{unknown}");
            let servers = config.name_servers().iter().map(|of| of.socket_addr.to_string());
            let mut servers: Vec<_> = servers.collect();
            servers.dedup();
            assert_eq!(servers, ["10.0.0.1:53", "[fe80::1]:53"], "{unknown}");
            assert_eq!((options.ndots, options.edns0), (5, true), "{unknown}");
        }
        assert!(parse("options retrans:1\n").is_none(), "no server");
    }
}
