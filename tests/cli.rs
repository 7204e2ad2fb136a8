//! The command line: output, messages and exit codes, in `tests/cmd/*.trycmd`, the README and the book.
//! `TRYCMD=overwrite cargo test --test cli` updates the files; review the diff before committing it.

#[test]
fn commands_print_what_their_files_say() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}

#[test]
fn the_readme_and_the_book_show_what_is_printed() {
    trycmd::TestCases::new().case("README.md").case("docs/src/*.md");
}
