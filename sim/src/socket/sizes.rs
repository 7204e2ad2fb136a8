//! Requests that say how long they are, and how long the answer shall be.
//!
//! Such a request begins with the line `hairpin SEND RECEIVE`, two numbers of bytes, and is filled up with dots. A server
//! on a stream reads all of it before it answers.

use std::str;

/// The sizes of a request and of its answer, in bytes without headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Length of the request; at least [`Sizes::SEND_MIN`].
    pub send: u16,
    /// Length of the answer, or 0 for the server's line alone; an answer is never shorter than this line.
    pub receive: u16,
}

/// The first word of a request with sizes.
const WORD: &str = "hairpin";

impl Sizes {
    /// The smallest request; its line has at most 20 bytes.
    pub const SEND_MIN: u16 = 32;

    /// The request.
    pub fn request(self) -> Vec<u8> {
        let Self { send, receive } = self;
        let mut request = format!("{WORD} {send} {receive}\n").into_bytes();
        request.resize(usize::from(send), b'.');
        request
    }

    /// The sizes in the first line of a request; `None` for any other request.
    pub fn of(request: &[u8]) -> Option<Self> {
        let end = request.iter().take(usize::from(Self::SEND_MIN)).position(|byte| *byte == b'\n')?;
        let mut words = str::from_utf8(&request[..end]).ok()?.split(' ');
        if words.next() != Some(WORD) {
            return None;
        }
        let (send, receive) = (words.next()?, words.next()?);
        Some(Self { send: send.parse().ok()?, receive: receive.parse().ok()? })
    }

    /// True if a server on a stream answers what it has read so far.
    pub fn is_complete(request: &[u8]) -> bool {
        Self::of(request).is_none_or(|sizes| request.len() >= usize::from(sizes.send))
    }

    /// The answer to a request: the server's line, with spaces before its end if the request wants more.
    pub fn answer(request: &[u8], mut line: String) -> Vec<u8> {
        let receive = Self::of(request).map_or(0, |sizes| usize::from(sizes.receive));
        if let Some(missing) = receive.checked_sub(line.len())
            && line.pop().is_some()
        {
            line.push_str(&" ".repeat(missing));
            line.push('\n');
        }
        line.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_tells_its_sizes() {
        for (send, receive) in [(32, 0), (3_000, 20_000), (u16::MAX, u16::MAX)] {
            let sizes = Sizes { send, receive };
            let request = sizes.request();
            assert_eq!((request.len(), Sizes::of(&request)), (usize::from(send), Some(sizes)));
            assert!(Sizes::is_complete(&request) && !Sizes::is_complete(&request[..31]));
        }
        for other in ["hairpin\n", "hairpin 1\n", "hairpin 1 x\n", "", "hairpin 1 2"] {
            assert_eq!(Sizes::of(other.as_bytes()), None, "{other}");
            assert!(Sizes::is_complete(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn an_answer_has_the_requested_size_but_is_never_cut() {
        let line = "pod/web 10.0.0.1:40000 10.0.0.2:80\n";
        let answer = |receive| Sizes::answer(&Sizes { send: 32, receive }.request(), line.to_owned());
        assert_eq!(answer(0), line.as_bytes());
        assert_eq!(answer(10), line.as_bytes());
        let long = answer(1_000);
        assert_eq!(long.len(), 1_000);
        assert!(long.starts_with(line.trim_end().as_bytes()) && long.ends_with(b" \n"));
        assert_eq!(Sizes::answer(b"hairpin\n", line.to_owned()), line.as_bytes());
    }
}
