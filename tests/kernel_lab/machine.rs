//! A machine for one test, in its own namespaces, set up like a host.

use conformance::arm::kernel::KernelArm;
use conformance::backend::Backend;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn Error>>;

const HAIRPIN: &str = env!("CARGO_BIN_EXE_hairpin");

/// Programs that the test needs in addition to those of the kernel arm.
const PROGRAMS: [&str; 4] = ["unshare", "nsenter", "setpriv", "sysctl"];

/// Timeout for a lab. Creating one takes a tenth of a second on an idle machine.
const LAB_TIME_MAX: Duration = Duration::from_secs(20);

/// The state of a host: an address, rules of every kind, another user's namespace. IPv6 is disabled, because the state
/// of its addresses changes by itself.
const FURNISH: &str = "set -e
mount -t tmpfs tmpfs /run
sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.conf.all.rp_filter=2
ip link set lo up
ip link add host0 type veth peer name host1
ip address add 192.0.2.1/24 dev host0
ip link set host0 up
iptables-legacy -N host-legacy
iptables-legacy -A FORWARD -s 192.0.2.0/24 -j host-legacy
iptables-nft -N host-nft
iptables-nft -A FORWARD -s 192.0.2.0/24 -j host-nft
nft add table inet host-native
ip netns add host-netns
echo furnished
exec cat";

/// All state of a machine that a run could change, without timestamps in comments and conntrack entries, which change
/// by themselves.
const STATE: &str = "set -e
iptables-legacy-save | grep -v '^#'
iptables-nft-save | grep -v '^#'
nft list ruleset 2>/dev/null
ip -o link
ip -o address
ip route show table all
ip netns list
sysctl -a -r '^net\\.(ipv4|ipv6|bridge|netfilter)' 2>/dev/null | grep -v nf_conntrack_count";

/// Lives as long as the process that holds its namespaces.
pub(crate) struct Machine {
    keeper: Child,
    /// A copy of the program that every user may execute.
    programs: TempDir,
}

/// True if this machine can run labs. If not, prints what is missing and the skipped test to the terminal; with
/// `HAIRPIN_KERNEL=required` in the environment, the test fails instead.
pub(crate) fn can_run(test: &str) -> bool {
    let mut lacks: Vec<String> = Backend::ALL.into_iter().flat_map(KernelArm::lacks).collect();
    lacks.extend(PROGRAMS.iter().filter(|program| !has(program)).map(|program| format!("no `{program}`")));
    lacks.dedup();
    for one in &lacks {
        // Not with `eprintln`, which the test harness captures.
        let _ = writeln!(io::stderr(), "SKIPPED {test}: {one}");
    }
    let is_required = std::env::var("HAIRPIN_KERNEL").is_ok_and(|value| value == "required");
    assert!(lacks.is_empty() || !is_required, "the kernel is required: {lacks:?}");
    lacks.is_empty()
}

fn has(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

impl Machine {
    pub(crate) fn new() -> TestResult<Self> {
        let programs = tempfile::tempdir()?;
        fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755))?;
        let mut keeper = Command::new("unshare")
            .args(["--net", "--mount", "--", "sh", "-c", FURNISH])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let stdout = keeper.stdout.take().ok_or("the output is piped")?;
        let machine = Self { keeper, programs };
        BufReader::new(stdout).read_line(&mut said)?;
        if said == "furnished\n" { Ok(machine) } else { Err("cannot set up the machine".into()) }
    }

    /// A command inside, without input and output.
    fn enter(&self, arguments: &[&str]) -> Command {
        let pid = self.keeper.id();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{pid}/ns/net"))
            .arg(format!("--mount=/proc/{pid}/ns/mnt"))
            .arg("--")
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn shell(&self, script: &str) -> TestResult<String> {
        let output =
            self.enter(&["sh", "-c", script]).stderr(Stdio::piped()).stdout(Stdio::piped()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        Err(format!("{script}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// hairpin, inside. `nsenter` execs it, so the process is hairpin itself.
    pub(crate) fn hairpin(&self, arguments: &[&str]) -> Command {
        self.enter(&[&[HAIRPIN], arguments].concat())
    }

    /// Like [`Machine::hairpin`], as a user other than root.
    pub(crate) fn hairpin_as_nobody(&self, arguments: &[&str]) -> TestResult<Command> {
        let copy = self.programs.path().join("hairpin");
        if !copy.exists() {
            fs::copy(HAIRPIN, &copy)?;
        }
        let copy = copy.to_str().ok_or("a path in text")?;
        let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy];
        Ok(self.enter(&[&nobody, arguments].concat()))
    }

    /// Hides a program, and every link to the same file, from the machine.
    pub(crate) fn hide(&self, program: &str) -> TestResult {
        let script = format!("mount --bind /dev/null \"$(readlink -f \"$(command -v {program})\")\"");
        self.shell(&script).map(drop)
    }

    pub(crate) fn state(&self) -> TestResult<String> {
        self.shell(STATE)
    }

    /// Waits until a process creates the lab of a scenario. The short-lived labs of its checks do not count.
    pub(crate) fn wait_for_lab(&self, pid: u32) -> TestResult {
        let deadline = Instant::now() + LAB_TIME_MAX;
        while self.netns_of(pid)?.keys().all(|name| name.ends_with("-probe")) {
            if Instant::now() > deadline {
                return Err("no lab was created".into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The remains of a process, after the tools that it started have ended by themselves.
    pub(crate) fn left_by(&self, pid: u32) -> TestResult<BTreeMap<String, u64>> {
        let mut seen = self.netns_of(pid)?;
        loop {
            thread::sleep(Duration::from_millis(500));
            let now = self.netns_of(pid)?;
            if now == seen {
                return Ok(now);
            }
            seen = now;
        }
    }

    /// The inodes of the namespaces that a process created, by name.
    pub(crate) fn netns_of(&self, pid: u32) -> TestResult<BTreeMap<String, u64>> {
        let folder = PathBuf::from(format!("/proc/{}/root/run/netns", self.keeper.id()));
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // It may have been deleted meanwhile.
            if let (true, Ok(metadata)) =
                (name.starts_with(&format!("hp-{pid}-")), fs::metadata(entry.path()))
            {
                found.insert(name, metadata.ino());
            }
        }
        Ok(found)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Closing its input ends it, and its namespaces with it.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) -> TestResult {
    Ok(kill(Pid::from_raw(pid.try_into()?), signal)?)
}

pub(crate) fn signal_group(pid: u32, signal: Signal) -> TestResult {
    Ok(killpg(Pid::from_raw(pid.try_into()?), signal)?)
}

/// Processes that are in one of these namespaces.
pub(crate) fn processes_in(netns: &BTreeMap<String, u64>) -> TestResult<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        // It may have ended meanwhile.
        let inode = fs::metadata(entry.path().join("ns/net")).map(|metadata| metadata.ino());
        if inode.is_ok_and(|inode| netns.values().any(|one| *one == inode)) {
            found.push(pid);
        }
    }
    Ok(found)
}
