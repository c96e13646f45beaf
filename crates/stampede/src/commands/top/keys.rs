//! What the keys do.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To leave.
    Quit,
    /// To stop the picture, or let it go on.
    Pause,
    /// The next order of the drops.
    Sort,
    /// To read what the figures mean, or to see the drops again.
    Help,
    /// So many rows down; up if it is less than 0.
    Scroll(i32),
    /// So many pages down; up if it is less than 0.
    Page(i32),
    /// The first drop.
    First,
    /// The last drop.
    Last,
}

/// What an event wishes; nothing for most.
pub fn wish(event: &Event) -> Option<Wish> {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return None };
    if *kind == KeyEventKind::Release {
        return None;
    }
    if modifiers.contains(KeyModifiers::CONTROL) {
        return (*code == KeyCode::Char('c')).then_some(Wish::Quit);
    }
    Some(match code {
        KeyCode::Char('q') => Wish::Quit,
        KeyCode::Char('p' | ' ') => Wish::Pause,
        KeyCode::Char('s') => Wish::Sort,
        KeyCode::Char('?' | 'h') => Wish::Help,
        KeyCode::Up | KeyCode::Char('k') => Wish::Scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => Wish::Scroll(1),
        KeyCode::PageUp => Wish::Page(-1),
        KeyCode::PageDown => Wish::Page(1),
        KeyCode::Home => Wish::First,
        KeyCode::End => Wish::Last,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_help_says() {
        let of = |code, modifiers| wish(&Event::Key(KeyEvent::new(code, modifiers)));
        let plain = |code| of(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char('q')), Some(Wish::Quit));
        assert_eq!(of(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Wish::Quit));
        assert_eq!(plain(KeyCode::Char('c')), None);
        assert_eq!(of(KeyCode::Char('s'), KeyModifiers::CONTROL), None);
        assert_eq!([plain(KeyCode::Char('p')), plain(KeyCode::Char('s'))], [Some(Wish::Pause), Some(Wish::Sort)]);
        assert_eq!([plain(KeyCode::Char('?')), plain(KeyCode::Up)], [Some(Wish::Help), Some(Wish::Scroll(-1))]);
        assert_eq!([plain(KeyCode::PageDown), plain(KeyCode::Home)], [Some(Wish::Page(1)), Some(Wish::First)]);
        assert_eq!(wish(&Event::Resize(80, 24)), None);
    }
}
