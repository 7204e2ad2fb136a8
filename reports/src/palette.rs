//! Styles of text output. Printers always take a palette; the caller decides about colour: it passes [`Palette::PLAIN`]
//! or strips the escapes.

use anstyle::{AnsiColor, Style};

/// The role of a piece of text, which decides its style.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tone {
    /// Ordinary.
    Plain,
    /// Repeated or of little interest.
    Dim,
    /// A heading: flow or packet.
    Heading,
    /// A netns.
    Netns,
    /// A change of a packet, a mark or a conntrack entry.
    Change,
    /// As expected, or delivered.
    Good,
    /// Failed, dropped or refused.
    Bad,
}

/// One style for each tone.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    dim: Style,
    heading: Style,
    netns: Style,
    change: Style,
    good: Style,
    bad: Style,
}

impl Palette {
    /// No styles.
    pub const PLAIN: Self = Self {
        dim: Style::new(),
        heading: Style::new(),
        netns: Style::new(),
        change: Style::new(),
        good: Style::new(),
        bad: Style::new(),
    };

    /// The sixteen ANSI colours, so that the terminal's theme applies.
    pub const COLOUR: Self = Self {
        dim: Style::new().dimmed(),
        heading: Style::new().bold(),
        netns: AnsiColor::Cyan.on_default().bold(),
        change: AnsiColor::Yellow.on_default(),
        good: AnsiColor::Green.on_default(),
        bad: AnsiColor::Red.on_default().bold(),
    };

    /// The style of a tone.
    pub const fn style(&self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => Style::new(),
            Tone::Dim => self.dim,
            Tone::Heading => self.heading,
            Tone::Netns => self.netns,
            Tone::Change => self.change,
            Tone::Good => self.good,
            Tone::Bad => self.bad,
        }
    }
}
