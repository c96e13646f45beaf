//! Figures as people read them.

use indicatif::HumanCount;

/// `1,234`.
pub fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// `12.3` below a hundred, `1,234` above.
pub fn rate(rate: f64) -> String {
    // So small a rate would read as `-0.0`.
    if rate.abs() < 0.05 {
        "0".to_owned()
    } else if rate.abs() < 100.0 {
        format!("{rate:.1}")
    } else {
        let sign = if rate < 0.0 { "-" } else { "" };
        format!("{sign}{}", count(rate.abs().round() as u64))
    }
}

/// `0.4s`, `9s`, `3m12s`, `2h05m`, `3d04h`.
pub fn time(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0 if ms == 0 => "0s".to_owned(),
        0 => format!("0.{}s", ms / 100),
        1..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// `512 B`, `1.4 kB`, `3.0 MB`.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// `7 %`, but `<1 %` for a little and `>99 %` for almost everything.
pub fn percent(part: f64) -> String {
    match part * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => "<1 %".to_owned(),
        percent if percent > 99.0 && percent < 100.0 => ">99 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([count(7), count(1_234_567)], ["7", "1,234,567"]);
        assert_eq!([rate(0.0), rate(-0.01), rate(7.14), rate(-20.0)], ["0", "0", "7.1", "-20.0"]);
        assert_eq!([rate(1_234.5), rate(-1_234.4)], ["1,235", "-1,234"]);
        assert_eq!([time(0), time(420), time(59_999), time(192_000)], ["0s", "0.4s", "59s", "3m12s"]);
        assert_eq!([time(7_500_000), time(273_600_000)], ["2h05m", "3d04h"]);
        assert_eq!([bytes(12), bytes(1_400), bytes(3_000_000)], ["12 B", "1.4 kB", "3.0 MB"]);
        assert_eq!([percent(0.0), percent(0.001), percent(0.5)], ["0 %", "<1 %", "50 %"]);
        assert_eq!([percent(0.999), percent(1.0)], [">99 %", "100 %"]);
    }
}
