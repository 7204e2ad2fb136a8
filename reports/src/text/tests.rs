use super::RunText;
use crate::palette::Palette;
use crate::sample::run::{disputed, failed, passed};

#[test]
fn a_run_that_passed() {
    insta::assert_snapshot!(RunText::new(&passed(), "nodeport-local", Palette::PLAIN));
}

#[test]
fn a_run_that_failed_says_where_to_look() {
    insta::assert_snapshot!(RunText::new(&failed(), "my scenarios/a.yaml", Palette::PLAIN));
}

#[test]
fn arms_that_disagree_are_told_apart() {
    insta::assert_snapshot!(RunText::new(&disputed(), "nodeport-local", Palette::PLAIN));
}

#[test]
fn colour_is_nothing_but_escapes() {
    let coloured = RunText::new(&failed(), "a", Palette::COLOUR).to_string();
    let plain = RunText::new(&failed(), "a", Palette::PLAIN).to_string();
    assert_ne!(coloured, plain);
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}
