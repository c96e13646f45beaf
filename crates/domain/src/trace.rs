//! Where a request belongs in a distributed trace, as W3C Trace Context has it.
//!
//! An order takes its context along: from the client's header through the script call into the log, so that whoever archives
//! the order can say so in the same trace.

use std::fmt::{self, Display};

/// The most traced orders of one group whose contexts are sent with it, and so kept in its log entry: 400 bytes, whatever
/// share of the requests is traced.
pub const MAX_GROUP_TRACES: usize = 16;

/// The id of a trace; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

impl Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A span that others belong under: its trace, and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span's id; never all zeros.
    pub span_id: [u8; 8],
}

impl TraceContext {
    /// The length of [`Self::to_bytes`].
    pub const BYTES: usize = 24;

    /// The context with these ids, if they are none that stand for nothing.
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8]) -> Option<Self> {
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self { trace_id: TraceId(trace_id), span_id })
    }

    /// The ids one after the other.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace_id.0);
        bytes[16..].copy_from_slice(&self.span_id);
        bytes
    }

    /// Reads contexts that stand one behind the other; `None` if the bytes are none, or more than a group has. Nothing that
    /// counts depends on them, so nobody stops for that.
    pub fn read_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let (contexts, rest) = bytes.as_chunks::<{ Self::BYTES }>();
        if !rest.is_empty() || contexts.len() > MAX_GROUP_TRACES {
            return None;
        }
        contexts.iter().map(Self::read).collect()
    }

    fn read(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (trace_id, span_id) = bytes.split_at(16);
        Self::new(trace_id.try_into().ok()?, span_id.try_into().ok()?)
    }
}

/// What a `traceparent` header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent {
    /// The sender's span.
    pub context: TraceContext,
    /// Whether the sender records it.
    pub is_sampled: bool,
}

impl Traceparent {
    /// Reads a header's value; `None` if it is malformed, which means that there is no context, and is no error.
    ///
    /// A newer version than 00 may have more behind what version 00 has, and is read as far as that.
    pub fn parse(value: &[u8]) -> Option<Self> {
        const LENGTH: usize = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".len();
        let (head, more) = value.split_at_checked(LENGTH)?;
        let [version] = hex(&head[..2])?;
        let more_fits = more.is_empty() || (version != 0 && more[0] == b'-');
        let dashes = [2, 35, 52].iter().all(|at| head[*at] == b'-');
        if version == 0xff || !more_fits || !dashes {
            return None;
        }
        let context = TraceContext::new(hex(&head[3..35])?, hex(&head[36..52])?)?;
        let [flags] = hex(&head[53..])?;
        Some(Self { context, is_sampled: flags & 1 == 1 })
    }
}

/// The bytes that lower-case hexadecimal digits stand for.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parse(value: &str) -> Option<Traceparent> {
        Traceparent::parse(value.as_bytes())
    }

    #[test]
    fn a_traceparent_is_read_as_the_standard_has_it() {
        let read = parse(SAMPLED).expect("the standard's own example");
        assert_eq!(read.context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(read.context.span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert!(read.is_sampled);
        assert!(!parse(&SAMPLED.replace("-01", "-00")).expect("a context").is_sampled);
        assert!(!parse(&SAMPLED.replace("-01", "-02")).expect("a context").is_sampled, "another flag");
        let newer = SAMPLED.replacen("00-", "cc-", 1);
        assert_eq!(parse(&newer), Some(read));
        assert_eq!(parse(&format!("{newer}-what-the-future-will-be-like")), Some(read));
    }

    #[test]
    fn a_malformed_traceparent_is_no_context() {
        for value in [
            "",
            "00",
            "garbage",
            &SAMPLED.to_uppercase(),
            &format!("{SAMPLED}-more"),
            &format!("{SAMPLED} "),
            &format!(" {SAMPLED}"),
            &SAMPLED.replacen("00-", "ff-", 1),
            &SAMPLED.replacen("00-", "cc-", 1).replace("-01", "-01.more"),
            &SAMPLED.replace('-', "_"),
            &SAMPLED.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &SAMPLED.replace("b7ad6b7169203331", &"0".repeat(16)),
            &SAMPLED.replace("b7ad", "b7ag"),
            &SAMPLED.replace("-01", "-0x"),
            &SAMPLED[..54],
        ] {
            assert_eq!(parse(value), None, "{value:?}");
        }
    }

    fn contexts() -> impl Strategy<Value = TraceContext> {
        (1u128.., 1u64..).prop_map(|(trace, span)| {
            TraceContext::new(trace.to_be_bytes(), span.to_be_bytes()).expect("neither is nothing")
        })
    }

    proptest! {
        #[test]
        fn contexts_are_read_as_they_were_written(contexts in prop::collection::vec(contexts(), 0..=MAX_GROUP_TRACES)) {
            let bytes: Vec<u8> = contexts.iter().flat_map(TraceContext::to_bytes).collect();
            prop_assert_eq!(TraceContext::read_all(&bytes), Some(contexts));
        }

        #[test]
        fn a_context_is_read_from_its_header(context in contexts(), is_sampled: bool) {
            let span = u64::from_be_bytes(context.span_id);
            let header = format!("00-{}-{span:016x}-{:02x}", context.trace_id, u8::from(is_sampled));
            prop_assert_eq!(parse(&header), Some(Traceparent { context, is_sampled }));
        }

        #[test]
        fn any_bytes_are_read_or_are_no_context(bytes: Vec<u8>, at in 0usize..55, byte: u8) {
            let _ = Traceparent::parse(&bytes);
            let _ = TraceContext::read_all(&bytes);
            let mut header = SAMPLED.as_bytes().to_vec();
            header[at] = byte;
            let _ = Traceparent::parse(&header);
        }
    }

    #[test]
    fn bytes_that_are_no_contexts_are_told_apart() {
        let one = parse(SAMPLED).expect("a context").context.to_bytes();
        assert_eq!(TraceContext::read_all(&[]), Some(Vec::new()));
        assert_eq!(TraceContext::read_all(&one[1..]), None);
        assert_eq!(TraceContext::read_all(&[0; TraceContext::BYTES]), None);
        assert_eq!(TraceContext::read_all(&one.repeat(MAX_GROUP_TRACES + 1)), None);
    }
}
