//! As much of the Redis protocol as an XADD needs: its command, and the replies to it.

use crate::error::BenchError;

/// A reply is a short text; a longer line is none that was asked for.
const LINE_SIZE_MAX: usize = 512;

/// Appends a command: an array of bulk strings.
pub(super) fn command(to: &mut Vec<u8>, arguments: &[&[u8]]) {
    to.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        to.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        to.extend_from_slice(argument);
        to.extend_from_slice(b"\r\n");
    }
}

/// Takes the first reply from the front of what has arrived: how many bytes it has, once all of them are there. Simple
/// strings and bulk strings are replies; an error of the server is one here.
pub(super) fn reply(bytes: &[u8]) -> Result<Option<usize>, BenchError> {
    let Some(line) = bytes.windows(2).take(LINE_SIZE_MAX).position(|pair| pair == b"\r\n") else {
        if bytes.len() > LINE_SIZE_MAX {
            return Err(strange(&bytes[..LINE_SIZE_MAX]));
        }
        return Ok(None);
    };
    let text = &bytes[..line];
    let size = match text.first() {
        Some(b'+') => line + 2,
        Some(b'$') => {
            let length = std::str::from_utf8(&text[1..]).ok().and_then(|text| text.parse::<usize>().ok());
            let length = length.filter(|length| *length <= LINE_SIZE_MAX).ok_or_else(|| strange(text))?;
            line + 2 + length + 2
        }
        _ => return Err(strange(text)),
    };
    Ok((bytes.len() >= size).then_some(size))
}

fn strange(text: &[u8]) -> BenchError {
    BenchError::Wrong(format!("redis-server answered {:?}", String::from_utf8_lossy(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let mut bytes = Vec::new();
        command(&mut bytes, &[b"XADD", b"s", b"*", b"r", b"\x00\r\n"]);
        assert_eq!(bytes, b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nr\r\n$3\r\n\x00\r\n\r\n");
    }

    #[test]
    fn replies_are_taken_one_by_one_and_only_when_they_are_whole() {
        let all = b"$15\r\n1700000000000-0\r\n+PONG\r\n";
        for cut in 0..22 {
            assert_eq!(reply(&all[..cut]).expect("nothing strange yet"), None, "{cut} bytes");
        }
        assert_eq!(reply(all).expect("the first"), Some(22));
        assert_eq!(reply(&all[22..]).expect("the second"), Some(7));
    }

    #[test]
    fn errors_of_the_server_and_replies_nobody_asked_for_are_errors() {
        for text in ["-ERR unknown\r\n", ":1\r\n", "$-1\r\n", "$99999999\r\n", "$x\r\n", "\r\n"] {
            let error = reply(text.as_bytes()).expect_err("it is not taken").to_string();
            assert!(error.contains("redis-server answered"), "{error}");
        }
        assert!(reply(&[b'+'; 600]).is_err(), "a line without an end");
    }
}
