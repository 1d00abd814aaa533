//! Inputs that are almost right.

/// What parsers trip over.
const TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b",",
    b":",
    b"\n",
    b"\0",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"0.5",
    b"\xff",
    b"\xe2\x80\xa8",
    b"{}",
    b"\"data\":",
    b"\"request_id\":",
    b"\"success\":true",
    b"\"timeout_ms\":",
    b"\"headers\":{",
    b"ns",
    "µs".as_bytes(),
    b"h",
    b"-",
    b"+",
    b".",
    b"\r\n",
    b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 429 \r\n",
    b"Content-Length: 7\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Retry-After: ",
    b"\nForwarded: for=",
    b"\nX-Forwarded-For: ",
    b"for=\"[::1%25eth0]:80\"",
    b"::ffff:10.0.0.1",
    b"99999999999999999999",
    b"[",
    b"@",
    b"/../",
    b"%00",
    b";",
    b"=",
];

/// Makes inputs of those of a corpus by a few random changes.
pub struct Mutator(u64);

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Xorshift: enough to choose with.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, corpus);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let length = self.below(16).min(input.len() - at);
        match self.below(7) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.next() as u8,
            2 => drop(input.drain(at..at + length)),
            3 => {
                let token = TOKENS[self.below(TOKENS.len())];
                let times = if self.below(50) == 0 { 300 } else { 1 };
                input.splice(at..at, token.repeat(times));
            }
            4 => {
                let again = input[at..at + length].to_vec();
                input.splice(at..at, again);
            }
            5 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.truncate(at),
        }
    }
}
