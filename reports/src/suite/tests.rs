use super::SuiteText;
use crate::palette::Palette;
use crate::sample::suite::{members, on_the_kernel, on_the_simulator};

#[test]
fn a_suite_on_the_simulator_has_nothing_that_changes_from_run_to_run() {
    let members = members();
    insta::assert_snapshot!(SuiteText::new(&on_the_simulator(&members), Palette::PLAIN));
}

#[test]
fn a_suite_on_the_kernel_tells_every_verdict() {
    let members = members();
    insta::assert_snapshot!(SuiteText::new(&on_the_kernel(&members), Palette::PLAIN));
}

#[test]
fn colour_is_nothing_but_escapes() {
    let members = members();
    let runs = on_the_simulator(&members);
    let coloured = SuiteText::new(&runs, Palette::COLOUR).to_string();
    let plain = SuiteText::new(&runs, Palette::PLAIN).to_string();
    assert_ne!(coloured, plain);
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}
