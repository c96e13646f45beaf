//! Times as text, written thousands of times a second: within a minute they differ in their last digits only, and writing
//! those is a tenth of the work of writing a whole date.

use std::cell::RefCell;

use bytes::BufMut;
use stampede_domain::Timestamp;

/// One minute.
#[derive(Debug)]
pub(crate) struct Minute {
    number: i64,
    /// `2026-11-27T09:00:`
    text: String,
}

impl Minute {
    const MS: i64 = 60_000;

    /// The minute of this time.
    pub fn of(time: Timestamp) -> Self {
        let mut text = time.to_string();
        text.truncate(text.len() - "00.000Z".len());
        Self { number: time.as_ms() / Self::MS, text }
    }

    /// Writes a time: of this minute for little, of any other as well.
    pub fn write(&self, time: Timestamp, out: &mut impl BufMut) {
        let ms = time.as_ms();
        if !self.has(time) {
            out.put_slice(time.to_string().as_bytes());
            return;
        }
        let ms = (ms % Self::MS) as u32;
        let digit = |number: u32| b'0' + (number % 10) as u8;
        let [s, ms] = [ms / 1_000, ms % 1_000];
        out.put_slice(self.text.as_bytes());
        out.put_slice(&[digit(s / 10), digit(s), b'.', digit(ms / 100), digit(ms / 10), digit(ms), b'Z']);
    }
    fn has(&self, time: Timestamp) -> bool {
        time.as_ms() / Self::MS == self.number
    }
}

/// Writes a time that is near those which were written before.
pub(crate) fn write_time(time: Timestamp, out: &mut impl BufMut) {
    thread_local! {
        static LAST: RefCell<Minute> = RefCell::new(Minute::of(Timestamp::from_ms(0)));
    }
    LAST.with_borrow_mut(|last| {
        if !last.has(time) {
            *last = Minute::of(time);
        }
        last.write(time, out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    #[test]
    fn a_time_is_written_as_everywhere_else() {
        let time = |ms: i64| Timestamp::from_ms(1_764_234_000_000 + ms);
        let minute = Minute::of(time(59_999));
        for ms in [-1, 0, 7, 1_000, 12_345, 59_999, 60_000, 86_400_000] {
            let mut text = BytesMut::new();
            minute.write(time(ms), &mut text);
            assert_eq!(text, time(ms).to_string().as_bytes(), "{ms}");
            let mut again = Vec::new();
            write_time(time(ms), &mut again);
            assert_eq!(text, again, "{ms}");
        }
    }
}
