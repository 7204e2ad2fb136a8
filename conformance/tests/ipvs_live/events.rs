//! Random events, in the form of the recordings (`ipvs-recordings/sched`) without times and results.

use serde_json::{Value, json};

/// Connections of a sequence.
const CONNECTIONS_MAX: usize = 500;
/// Connections opened in a burst, which takes less than [`BURST_SECONDS`].
const BURST: usize = 60;
const BURST_SECONDS: u64 = 6;
/// Seconds between bursts.
const SLEEPS: [u64; 4] = [15, 75, 140, 1_000];
/// Seconds after its last packet in which an entry expires, in one state or another. The kernel's timers are late by a
/// time that depends on when the processor was idle, so no event may come then.
const EXPIRIES: [(u64, u64); 4] = [(9, 12), (59, 64), (119, 124), (899, 917)];

/// A generator of pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// The sequences of a scheduler, with that many connections in all: each is a header and its events.
pub(crate) fn of_scheduler(scheduler: &str, connections: usize, seed: u64) -> Vec<Vec<Value>> {
    let name = scheduler.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = Random(name);
    let mut sequences = Vec::new();
    let mut left = connections;
    for number in 0.. {
        if left == 0 {
            break;
        }
        let count = left.min(CONNECTIONS_MAX);
        left -= count;
        // With fallback, with ports, with both, with neither.
        let flags: &[&str] = match (scheduler, number % 4) {
            ("sh" | "mh", 1) => &["flag-1"],
            ("sh" | "mh", 2) => &["flag-2"],
            ("sh" | "mh", 3) => &["flag-1", "flag-2"],
            _ => &[],
        };
        let mut rows = vec![json!({
            "seq": format!("{scheduler}-{number:02}"), "scheduler": scheduler, "service": "10.96.0.1:80/tcp",
            "flags": flags,
        })];
        Sequence { random: &mut random, rows: &mut rows, servers: Vec::new(), opened: 0, slept: Vec::new() }
            .fill(count);
        sequences.push(rows);
    }
    sequences
}

struct Sequence<'a> {
    random: &'a mut Random,
    rows: &'a mut Vec<Value>,
    servers: Vec<String>,
    opened: usize,
    slept: Vec<u64>,
}

impl Sequence<'_> {
    fn fill(mut self, connections: usize) {
        for _ in 0..=self.random.below(5) {
            self.add();
        }
        while self.opened < connections {
            let end = connections.min(self.opened + BURST);
            while self.opened < end {
                self.event();
            }
            self.rows.push(json!({"op": "state"}));
            self.sleep();
        }
    }

    fn event(&mut self) {
        match self.random.below(100) {
            0..60 => self.open(),
            60..74 => self.of_connection("est"),
            74..78 => self.of_connection("again"),
            78..82 => self.of_connection("fin"),
            82..84 => self.of_connection("rst"),
            84..86 => self.of_connection("reopen"),
            86..91 => self.edit(),
            91..95 => self.add(),
            95..98 => self.delete(),
            _ => self.rows.push(json!({"op": "state"})),
        }
    }

    fn open(&mut self) {
        let (net, host, port) =
            (self.random.below(256), 1 + self.random.below(254), 1_024 + self.random.below(60_000));
        // Every client is another one: its port says the number of the connection.
        let client = format!("172.{}.{net}.{host}:{port}", 16 + self.opened % 16);
        self.rows.push(json!({"op": "open", "conn": self.opened, "client": client}));
        self.opened += 1;
    }

    fn of_connection(&mut self, op: &str) {
        if self.opened == 0 {
            return;
        }
        // Mostly recent ones.
        let newest = if self.random.below(4) == 0 { self.opened } else { self.opened.min(20) };
        let back = self.random.below(newest);
        let mut row = json!({"op": op, "conn": self.opened - 1 - back});
        match op {
            "fin" => {
                row["first"] = ["client", "server"][self.random.below(2)].into();
                row["full"] = (self.random.below(3) > 0).into();
            }
            "rst" => row["by"] = ["client", "server"][self.random.below(2)].into(),
            _ => {}
        }
        self.rows.push(row);
    }

    fn weight(&mut self) -> usize {
        [0, 1, 1, 2, 3, 4, 6, 9, 10, 100][self.random.below(10)]
    }

    fn add(&mut self) {
        let server = format!("10.244.{}.{}:{}", self.random.below(4), 2 + self.random.below(8), 8_080);
        if !self.servers.contains(&server) && self.servers.len() < 8 {
            let weight = self.weight();
            self.rows.push(json!({"op": "add", "server": server, "weight": weight}));
            self.servers.push(server);
        }
    }

    fn edit(&mut self) {
        if !self.servers.is_empty() {
            let server = self.servers[self.random.below(self.servers.len())].clone();
            let weight = self.weight();
            self.rows.push(json!({"op": "edit", "server": server, "weight": weight}));
        }
    }

    fn delete(&mut self) {
        if self.servers.len() > 1 {
            let server = self.servers.swap_remove(self.random.below(self.servers.len()));
            self.rows.push(json!({"op": "del", "server": server}));
        }
    }

    /// Sleeps so long that no entry expires during a later burst: a connection was last used in any burst before.
    fn sleep(&mut self) {
        let first = self.random.below(SLEEPS.len());
        let fits = |seconds: &u64| {
            let mut age = *seconds;
            let ages = self.slept.iter().rev().map(|slept| {
                age += slept + BURST_SECONDS;
                age
            });
            let mut ages = std::iter::once(*seconds).chain(ages.collect::<Vec<_>>()).zip(1..);
            // An age is that of the burst's last moment at least, and of its first at most.
            ages.all(|(age, bursts)| {
                EXPIRIES.iter().all(|(from, to)| {
                    age + (bursts + 1) * BURST_SECONDS < *from || age > *to + bursts * BURST_SECONDS
                })
            })
        };
        let seconds =
            SLEEPS.iter().cycle().skip(first).take(SLEEPS.len()).copied().find(fits).unwrap_or(1_000);
        self.slept.push(seconds);
        if seconds == 1_000 {
            // Everything has expired.
            self.slept.clear();
        }
        self.rows.push(json!({"op": "sleep", "s": seconds}));
    }
}
