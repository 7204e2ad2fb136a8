use super::*;

fn place(source: usize, span: Span) -> Place {
    Place { source: SourceId(source), span }
}

#[test]
fn a_diagnostic_shows_its_lines() {
    let sources = [
        Source { name: "a.yaml".into(), text: "kind: Service\nspec:\n  ports:\n  - nodePort: 80\n".into() },
        Source { name: "b.yaml".into(), text: "kind: Sérvice\n".into() },
        Source { name: "empty.yaml".into(), text: String::new() },
    ];
    let diagnostics = [
        Diagnostic::error(place(0, 43..45), "invalid NodePort 80")
            .expected("a port from 30000 to 32767")
            .related(place(0, 0..4), "of this object")
            .help("omit nodePort to have one allocated"),
        Diagnostic::warning(place(1, 6..14), "this is unused").related(place(0, 6..13), "as in this file"),
        Diagnostic::error(place(2, 0..0), "no Scenario document"),
        Diagnostic::error(place(0, 22..46), "a block is underlined on its first line only"),
        Diagnostic::error(place(0, 46..46), "the end of the text"),
    ];
    insta::assert_snapshot!(render(&diagnostics, &sources, Style::Plain));
    assert_eq!(diagnostics[0].position(&sources), Position { line: 4, column: 15 });
    assert_eq!(Position::of(&sources[1].text, 9), Position { line: 1, column: 9 });
    assert!(render(&diagnostics, &sources, Style::Coloured).contains('\u{1b}'));
}

#[test]
fn only_errors_are_errors() {
    let warning = Diagnostic::warning(place(0, 0..0), "x");
    assert!(!has_errors(std::slice::from_ref(&warning)));
    assert!(has_errors(&[warning, Diagnostic::error(place(0, 0..0), "x")]));
}

#[test]
fn the_same_mistake_many_times_is_printed_some_times() {
    let sources = [Source { name: "a.yaml".into(), text: "kind: x\n".into() }];
    let many = |count: usize| vec![Diagnostic::error(place(0, 6..7), "unknown kind"); count];
    let errors = |text: &str| text.matches("error: unknown kind").count();
    let text = render(&many(53), &sources, Style::Plain);
    assert_eq!(errors(&text), 50);
    assert!(text.ends_with("\n\nand 3 more\n"));
    assert!(!render(&many(50), &sources, Style::Plain).contains("more"));
}
