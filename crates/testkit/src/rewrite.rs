//! Replacing bytes in a stream.

/// Replaces texts by others of the same length in a stream that comes in pieces.
///
/// The last bytes of a piece are kept back only as long as they may be the beginning of a text.
#[derive(Debug)]
pub(crate) struct Rewriter {
    texts: Vec<(Vec<u8>, Vec<u8>)>,
    kept: Vec<u8>,
}

impl Rewriter {
    /// Each first text becomes its second one.
    ///
    /// # Panics
    /// If a text is empty, or of another length than its replacement: a protocol that says lengths would break.
    pub(crate) fn new(texts: &[(String, String)]) -> Self {
        assert!(
            texts.iter().all(|(from, to)| !from.is_empty() && from.len() == to.len()),
            "each text is as long as its replacement"
        );
        let bytes = |text: &String| text.clone().into_bytes();
        Self { texts: texts.iter().map(|(from, to)| (bytes(from), bytes(to))).collect(), kept: Vec::new() }
    }

    /// The next piece as it goes on, without what is kept back.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        self.kept.extend_from_slice(piece);
        let mut bytes = std::mem::take(&mut self.kept);
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if let Some((from, to)) = self.texts.iter().find(|(from, _)| rest.starts_with(from)) {
                bytes[at..at + from.len()].copy_from_slice(to);
                at += from.len();
            } else if self.texts.iter().any(|(from, _)| from.starts_with(rest)) {
                self.kept = bytes.split_off(at);
            } else {
                at += 1;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_replaced_however_the_stream_is_cut() {
        let stream = b"if a + b > limit then\r\n";
        for cut in 0..stream.len() {
            let mut rewriter = Rewriter::new(&[("b > limit".to_owned(), "0 > limit".to_owned())]);
            let mut out = rewriter.feed(&stream[..cut]);
            out.extend(rewriter.feed(&stream[cut..]));
            assert_eq!(out, b"if a + 0 > limit then\r\n", "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_text_goes_on_at_once() {
        let mut rewriter = Rewriter::new(&[("abc".to_owned(), "xyz".to_owned())]);
        assert_eq!(rewriter.feed(b"xx\r\n"), b"xx\r\n");
        assert_eq!(rewriter.feed(b"ab"), b"");
        assert_eq!(rewriter.feed(b"d"), b"abd");
    }

    #[test]
    #[should_panic(expected = "as long as its replacement")]
    fn a_replacement_of_another_length_is_refused() {
        Rewriter::new(&[("ab".to_owned(), "a".to_owned())]);
    }
}
