//! The page that lists every setting: `.env.example`.

use std::fmt::Write;

use super::table::SETTINGS;
use super::text;

const HEAD: &str = "\
# Every setting of Stampede, each with its default. Copy this file to .env and take the `#` before what you change.
#
# Documented defaults < settings file (--config FILE, or STAMPEDE_CONFIG) < these variables < flags. In a file the names are
# in small letters and without STAMPEDE_. For each secret there is also STAMPEDE_<NAME>_FILE: the path of a file that
# holds it. An empty variable sets nothing. `stampede config` prints what holds, and where it came from.
";

/// The text of `.env.example`.
pub fn example() -> String {
    let mut page = HEAD.to_owned();
    let mut group = "";
    for setting in SETTINGS.iter() {
        if setting.group != group {
            group = setting.group;
            let _ = write!(page, "\n# --- {group} ---\n");
        }
        let file = if setting.secret { " (secret)" } else { "" };
        let default = text::write(setting.kind, &setting.default);
        // Writing to a string cannot fail.
        let _ = write!(page, "\n# {}{file}\n#{}={default}\n", setting.doc, setting.variable());
    }
    page
}
