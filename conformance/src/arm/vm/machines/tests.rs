use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

/// A folder with an image that no guest runs, and a script in place of QEMU.
struct Fake {
    folder: tempfile::TempDir,
    image: Image,
}

impl Fake {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = folder.path().join("vm");
        fs::create_dir(&image).expect("it can be created");
        fs::write(image.join("vmlinux"), "").expect("it can be written");
        fs::write(image.join("root.cpio"), "").expect("it can be written");
        let description = r#"{"recipe":RECIPE,"requested":"linux","release":"6.1.0","packages":[]}"#;
        let description = description.replace("RECIPE", &crate::arm::vm::image::RECIPE.to_string());
        fs::write(image.join("image.json"), description).expect("it can be written");
        let program = folder.path().join("qemu");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("it can be written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let image = Image::find(folder.path()).expect("it can be read").expect("it is there");
        Self { folder, image }
    }

    fn machines(&self, limits: Limits) -> Machines {
        let program = self.folder.path().join("qemu");
        Machines::with(program, self.image.clone(), GuestTime::Virtual, limits).expect("the image is there")
    }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);
const READY: &str = r#"echo '{"Ready":{"release":"6.1.0"}}'"#;

#[test]
fn what_goes_wrong_with_a_machine_is_said() {
    let panic = "echo 'Kernel panic - not syncing: Attempted to kill init!' >&2";
    for (script, limits, expected) in [
        // QEMU itself fails.
        (
            "echo 'qemu: invalid accelerator tcg' >&2; exit 1".to_owned(),
            LIMITS,
            "the virtual machine ended (exit status: 1)\n  qemu: invalid accelerator tcg",
        ),
        // The guest's kernel panics while it boots, or while a scenario runs.
        (
            format!("{panic}; exit 0"),
            LIMITS,
            "the virtual machine ended (exit status: 0)\n  Kernel panic - not syncing: Attempted to kill init!",
        ),
        (
            format!("{READY}; read request; {panic}; exit 0"),
            LIMITS,
            "the virtual machine ended (exit status: 0)\n  Kernel panic - not syncing: Attempted to kill init!",
        ),
        // The guest hangs.
        (
            "echo 'no init found' >&2; exec sleep 60".to_owned(),
            Limits { boot: SHORT, answer: LONG },
            "the virtual machine did not boot within 300ms\n  no init found",
        ),
        (
            format!("{READY}; read request; exec sleep 60"),
            Limits { boot: LONG, answer: SHORT },
            "the virtual machine did not answer within 300ms",
        ),
    ] {
        let fake = Fake::new(&script);
        let machines = fake.machines(limits);
        let error = machines.examine("text", Backend::Legacy).expect_err("it fails");
        assert_eq!(error, ArmError::Failed(expected.to_owned()), "{script}");
        assert!(machines.idle.lock().expect("nobody panicked").is_empty(), "it is not used again");
    }
}

#[test]
fn a_line_that_is_not_a_message_is_a_bug() {
    let fake = Fake::new(&format!("{READY}; read request; echo nonsense; exec sleep 60"));
    let error = fake.machines(LIMITS).examine("text", Backend::Nft).expect_err("it fails");
    assert!(matches!(&error, ArmError::Internal(message) if message.ends_with(": nonsense")), "{error}");
}

#[test]
fn one_machine_serves_one_request_after_the_other() {
    // It answers with the number of its request, and would boot only once.
    let answer =
        r#"n=0; while read request; do n=$((n+1)); echo '{"Examined":{"Err":{"Failed":"'$n'"}}}'; done"#;
    let fake = Fake::new(&format!("{READY}; {answer}"));
    let machines = fake.machines(LIMITS);
    for number in ["1", "2", "3"] {
        let answered = machines.examine("text", Backend::Legacy);
        assert_eq!(answered, Err(ArmError::Failed(number.to_owned())));
    }
}

#[test]
fn without_an_image_the_command_is_named() {
    let empty = tempfile::tempdir().expect("a temporary folder");
    let Err(ArmError::Missing(message)) = Machines::new(empty.path(), GuestTime::Virtual) else {
        panic!("it has no image");
    };
    let (program, package) = QEMU;
    let expected = match find(program) {
        Some(_) => "the image of this version is missing: run `hairpin lab vm prepare`".to_owned(),
        None => format!("`{program}` is missing: install the package {package}"),
    };
    assert_eq!(message, expected);
}
