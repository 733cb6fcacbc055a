//! Scenarios: service directories and what is ordered of them, made from a seed.
//!
//! A scenario comes with a model that knows how much will happen after each order (how many events,
//! lines and runs), so that a player waits for what has to come and never for time. What happens is
//! not the model's to say: that is compared between the two supervisors.

use std::fmt;

/// A small generator: the same seed makes the same scenario on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ (word >> 31)) % limit as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// How one life of a service goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It returns this code at once.
    Exit(u8),
    /// It kills itself by this signal at once.
    Die(u8),
}

/// What a service does once it has had its short lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Whatever signal comes ends it.
    Plain,
    /// It answers TERM with exit code 7.
    Graceful,
    /// It does not hear TERM.
    Deaf,
}

/// A service directory.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// Its first lives; after them it stays.
    pub(crate) lives: Vec<Life>,
    pub(crate) stay: Stay,
    /// It says that it is ready, where it stays.
    pub(crate) notifies: bool,
    /// The exit codes of its `finish`, one a life, the last for all further ones.
    pub(crate) finish: Option<Vec<u8>>,
    /// Its `finish` hangs, and is killed for it.
    pub(crate) finish_hangs: bool,
    pub(crate) down_signal: Option<&'static str>,
    pub(crate) timeout_kill: bool,
    pub(crate) down: bool,
    pub(crate) logged: bool,
}

/// What is done to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One letter of `s6-svc`.
    Letter(char),
    /// Its logger is killed.
    KillLogger,
    /// A rescan, with nothing new.
    Rescan,
}

/// Everything of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) services: Vec<Service>,
    /// Which service, and what.
    pub(crate) orders: Vec<(usize, Order)>,
    /// The last service is not there at the start: it is published, and removed at the end.
    pub(crate) publishes: bool,
}

impl Scenario {
    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let names = ["a", "b"];
        let count = 1 + dice.below(2);
        let services: Vec<Service> = names[..count]
            .iter()
            .map(|name| service(&mut dice, name))
            .collect();
        let orders = (0..3 + dice.below(6))
            .map(|_| {
                let which = dice.below(count);
                (which, order(&mut dice, &services[which]))
            })
            .collect();
        Self {
            publishes: count > 1 && dice.chance(50),
            services,
            orders,
        }
    }
}

fn service(dice: &mut Dice, name: &'static str) -> Service {
    let lives = (0..[0, 0, 0, 1, 1, 2][dice.below(6)])
        .map(|_| match dice.below(3) {
            0 => Life::Die(dice.pick(&[9, 15, 2, 1, 10])),
            _ => Life::Exit(dice.pick(&[0, 1, 2, 100, 111, 125, 255])),
        })
        .collect();
    let stay = dice.pick(&[Stay::Plain, Stay::Plain, Stay::Graceful, Stay::Deaf]);
    let finish = dice.chance(60).then(|| {
        (0..=dice.below(4))
            .map(|_| dice.pick(&[0, 0, 1, 125, 3]))
            .collect()
    });
    Service {
        name,
        lives,
        stay,
        // What has to set traps first says when it has.
        notifies: stay != Stay::Plain || dice.chance(40),
        finish_hangs: finish.is_some() && dice.chance(10),
        finish,
        down_signal: (stay == Stay::Plain)
            .then(|| dice.pick(&[None, None, Some("SIGINT"), Some("hup"), Some("12")]))
            .flatten(),
        timeout_kill: stay == Stay::Deaf,
        down: dice.chance(35),
        logged: dice.chance(30),
    }
}

fn order(dice: &mut Dice, service: &Service) -> Order {
    if service.logged && dice.chance(15) {
        return Order::KillLogger;
    }
    if dice.chance(6) {
        return Order::Rescan;
    }
    Order::Letter(dice.pick(&[
        'u', 'u', 'u', 'd', 'd', 'o', 'O', 'D', 'U', 'Q', 't', 'k', 'k', 'i', 'h', '1', 'p', 'c',
        'r',
    ]))
}

/// What a service is in, as far as the amount of what follows depends on it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Model {
    service: Service,
    up: bool,
    paused: bool,
    wanted: bool,
    /// Runs so far.
    runs: usize,
    /// What has to have been seen by now.
    pub(crate) expected: Amount,
    pub(crate) marked_down: bool,
}

/// How much of everything there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Bytes of events.
    pub(crate) events: usize,
    /// Lines that scripts leave in the trace.
    pub(crate) lines: usize,
    /// Lines in the log.
    pub(crate) logged: usize,
}

/// What a tool must say before the next order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) up: bool,
    pub(crate) wanted: bool,
    pub(crate) paused: bool,
}

impl Model {
    pub(crate) fn new(service: &Service) -> Self {
        let mut model = Self {
            service: service.clone(),
            up: false,
            paused: false,
            wanted: !service.down,
            runs: 0,
            expected: Amount::default(),
            marked_down: service.down,
        };
        if model.wanted {
            model.start();
        }
        // Nobody listens yet.
        model.expected.events = 0;
        model
    }

    pub(crate) fn settled(&self) -> Settled {
        Settled {
            up: self.up,
            wanted: self.wanted,
            paused: self.paused,
        }
    }

    /// What an order brings about.
    pub(crate) fn take(&mut self, order: Order) {
        let Order::Letter(letter) = order else {
            return;
        };
        match letter {
            'D' | 'Q' => self.marked_down = true,
            'U' => self.marked_down = false,
            _ => {}
        }
        match letter {
            'u' | 'U' => self.want(true),
            'd' | 'D' => {
                self.wanted = false;
                if self.up {
                    // CONT follows, so that a stopped process hears it.
                    self.death();
                }
            }
            'o' => {
                self.wanted = false;
                if !self.up {
                    self.start();
                }
            }
            'O' | 'Q' => self.wanted = false,
            'p' if self.up => self.paused = true,
            'c' if self.up => self.paused = false,
            letter if self.up && self.dies_by(letter) => self.death(),
            _ => {}
        }
    }

    /// Whether an order can be given now without the outcome depending on time.
    pub(crate) fn allows(&self, order: Order) -> bool {
        match order {
            Order::Letter(letter) => !self.paused || matches!(letter, 'c' | 'k' | 'u' | 'p' | 'd'),
            Order::KillLogger => !self.paused,
            Order::Rescan => true,
        }
    }

    fn dies_by(&self, letter: char) -> bool {
        match letter {
            'k' | 'i' | 'h' | '1' => true,
            't' | 'r' => self.service.stay != Stay::Deaf,
            _ => false,
        }
    }

    fn want(&mut self, up: bool) {
        self.wanted = up;
        if up && !self.up {
            self.start();
        }
    }

    /// Runs until it stays, or is not started again.
    fn start(&mut self) {
        loop {
            self.runs += 1;
            self.expected.events += 1;
            self.expected.lines += 1;
            self.expected.logged += usize::from(self.service.logged);
            if self.runs > self.service.lives.len() {
                self.up = true;
                self.expected.events += usize::from(self.service.notifies);
                return;
            }
            if !self.end() {
                return;
            }
        }
    }

    /// It is killed while it stays.
    fn death(&mut self) {
        self.up = false;
        self.paused = false;
        if self.end() {
            self.start();
        }
    }

    /// The end of a run: whether it is started again.
    fn end(&mut self) -> bool {
        self.expected.events += 2;
        if let Some(codes) = &self.service.finish {
            self.expected.lines += 1;
            let code = codes[(self.runs - 1).min(codes.len() - 1)];
            if code == 125 && !self.service.finish_hangs {
                self.expected.events += 1;
                self.wanted = false;
            }
        }
        self.wanted
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: lives {:?} then {:?}{}{}{}{}{}",
            self.name,
            self.lives,
            self.stay,
            if self.notifies { ", notifies" } else { "" },
            match &self.finish {
                Some(codes) => format!(", finish {codes:?}"),
                None => String::new(),
            },
            if self.finish_hangs { " hangs" } else { "" },
            if self.down { ", down" } else { "" },
            if self.logged { ", logged" } else { "" },
        )
    }
}
