//! The few styles that text output uses. Printers always take a palette; whether a terminal sees colour is decided
//! by the caller, who chooses [`Palette::PLAIN`] or strips the escapes.

use anstyle::{AnsiColor, Style};

/// What a piece of text is, which decides how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tone {
    /// Ordinary.
    Plain,
    /// Repeated or of little interest.
    Dim,
    /// A heading: a flow, a packet.
    Heading,
    /// A netns.
    Netns,
    /// Something that changed a packet, a mark or an entry.
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
    /// No styles at all.
    pub const PLAIN: Self = Self {
        dim: Style::new(),
        heading: Style::new(),
        netns: Style::new(),
        change: Style::new(),
        good: Style::new(),
        bad: Style::new(),
    };

    /// Styles of the sixteen ANSI colours, so that the terminal's theme decides.
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
