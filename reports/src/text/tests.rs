use super::RunText;
use crate::palette::Palette;
use crate::sample::run::{disputed, failed, passed};
use conformance::settings::{LAB_SETTINGS, LabSetting};

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

/// The settings of a lab are printed and documented, each with its reason, and no others.
#[test]
fn every_setting_of_a_lab_is_printed_and_in_the_book() {
    let report = RunText::new(&disputed(), "nodeport-local", Palette::PLAIN).to_string();
    let printed: Vec<&str> = report
        .lines()
        .skip_while(|line| !line.starts_with("on both sides"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .collect();
    let lines =
        LAB_SETTINGS.map(|LabSetting { name, value, reason, .. }| format!("  {name} = {value}: {reason}"));
    assert_eq!(printed, lines);
    let book = include_str!("../../../docs/src/kernel.md");
    let rows: Vec<&str> = book
        .lines()
        .skip_while(|line| !line.starts_with("| setting |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let documented = LAB_SETTINGS
        .map(|LabSetting { name, value, reason, .. }| format!("| `{name}` | {value} | {reason} |"));
    assert_eq!(rows, documented);
}
