//! What goes wrong, when and how badly: all determined by the seed. Each world has its own temper,
//! in which some faults are frequent and others absent: this finds both bugs that need a single
//! fault and bugs that need two at once.

use std::time::Duration;

use ids::Room;

use crate::jobs::ground::{Event, Ground, Who};
use crate::jobs::world::World;
use crate::weather::{self, Weather};

/// The last messages of the storm arrive within this time: a message may be late, and its receiver
/// suspended.
const SETTLES_AFTER: Duration = Duration::from_secs(25);

/// A fault, or its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A random fault occurs, and the next one is scheduled.
    Strike,
    /// The second process hears the first again.
    Heal(Who, Who),
    /// The chunk store answers again.
    StoreIsUp,
    /// A tracker's disk has space again.
    DiskHasRoom(usize),
    /// The JobTracker's disk has space again.
    JournalHasRoom,
    /// A host's ailment is over.
    Cured(usize),
    /// A tracker's suspended daemon continues.
    Thaw(usize),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    CrashJobTracker,
    CrashTracker,
    CrashMany,
    WipeTracker,
    PauseJobTracker,
    PauseHost,
    FreezeDaemon,
    CutOff,
    CutTo,
    CutFrom,
    CutPair,
    LoseOutput,
    BreakPartition,
    StoreDown,
    JournalFull,
    DiskFull,
    Sick,
}

const KINDS: [Kind; 17] = [
    Kind::CrashJobTracker,
    Kind::CrashTracker,
    Kind::CrashMany,
    Kind::WipeTracker,
    Kind::PauseJobTracker,
    Kind::PauseHost,
    Kind::FreezeDaemon,
    Kind::CutOff,
    Kind::CutTo,
    Kind::CutFrom,
    Kind::CutPair,
    Kind::LoseOutput,
    Kind::BreakPartition,
    Kind::StoreDown,
    Kind::JournalFull,
    Kind::DiskFull,
    Kind::Sick,
];

/// The temper of a world.
pub(crate) type Temper = weather::Temper<{ KINDS.len() }>;

/// Draws a temper, and the network's weather.
pub(crate) fn draw(ground: &mut Ground) -> Temper {
    ground.weather = Weather::draw(&mut ground.random, 60);
    Temper::draw(&mut ground.random, 500)
}

/// Schedules the next fault.
pub(crate) fn schedule(temper: &Temper, ground: &mut Ground) {
    let pause = temper.pause(&mut ground.random);
    ground.after(pause, Event::Begun(Fault::Strike));
}

impl World {
    pub(crate) fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Strike if self.scene.is_calm => {}
            Fault::Strike => {
                if let Some(kind) = self.temper.pick(&mut self.scene.ground.random, &KINDS) {
                    self.strike(kind);
                }
                schedule(&self.temper, &mut self.scene.ground);
            }
            Fault::Heal(from, to) => self.scene.ground.heal(from, to),
            Fault::StoreIsUp => self.scene.store.is_down = false,
            Fault::DiskHasRoom(n) => self.trackers[n].is_full = false,
            Fault::Cured(n) => self.trackers[n].feel(&mut self.scene, true),
            Fault::Thaw(n) => self.trackers[n].thaw(&mut self.scene),
            Fault::JournalHasRoom => {
                let now = self.scene.ground.now().monotonic;
                let runs_since = &mut self.scene.watch.runs_since;
                *runs_since = now.max(*runs_since);
                self.jobtracker.set_room(&mut self.scene, Room::Ample);
            }
        }
    }

    fn strike(&mut self, kind: Kind) {
        let n = self.someone();
        self.scene.ground.say(format_args!("fault: {kind:?}, host-{n}"));
        let tracker = Who::Tracker(n);
        match kind {
            Kind::CrashJobTracker => self.crash_jobtracker(),
            Kind::CrashTracker => self.crash_tracker(n),
            Kind::CrashMany => {
                for _ in 0..self.n_present / 3 + 1 {
                    let n = self.someone();
                    self.crash_tracker(n);
                }
            }
            Kind::WipeTracker => {
                self.crash_tracker(n);
                self.trackers[n].wipe(&mut self.scene);
            }
            Kind::PauseJobTracker => {
                let until = self.pause(Who::JobTracker);
                self.scene.watch.runs_since = until;
            }
            Kind::PauseHost => drop(self.pause(tracker)),
            Kind::FreezeDaemon => {
                self.trackers[n].is_frozen = true;
                self.later(50..15_000, Fault::Thaw(n));
            }
            Kind::CutOff => {
                self.cut(tracker, Who::JobTracker);
                self.cut(Who::JobTracker, tracker);
            }
            Kind::CutTo => self.cut(tracker, Who::JobTracker),
            Kind::CutFrom => self.cut(Who::JobTracker, tracker),
            Kind::CutPair => {
                let other = self.someone();
                self.cut(tracker, Who::Tracker(other));
            }
            Kind::LoseOutput => self.lose_output(),
            Kind::BreakPartition => self.break_partition(),
            Kind::StoreDown => {
                self.scene.store.is_down = true;
                self.later(100..8000, Fault::StoreIsUp);
            }
            Kind::JournalFull => {
                let room = *self.scene.ground.random.pick(&[Room::Reserve, Room::None]);
                self.jobtracker.set_room(&mut self.scene, room);
                self.later(200..12_000, Fault::JournalHasRoom);
            }
            Kind::Sick => {
                self.trackers[n].feel(&mut self.scene, false);
                self.later(500..20_000, Fault::Cured(n));
            }
            Kind::DiskFull => {
                self.trackers[n].is_full = true;
                self.later(500..8000, Fault::DiskHasRoom(n));
            }
        }
    }

    fn later(&mut self, millis: std::ops::Range<u64>, fault: Fault) {
        let pause = self.scene.ground.random.millis(millis);
        self.scene.ground.after(pause, Event::Begun(fault));
    }

    /// One of the trackers in this world.
    fn someone(&mut self) -> usize {
        self.scene.ground.random.below(self.n_present)
    }

    fn cut(&mut self, from: Who, to: Who) {
        self.scene.ground.cut(from, to);
        self.later(100..20_000, Fault::Heal(from, to));
    }

    pub(crate) fn crash_jobtracker(&mut self) {
        self.jobtracker.crash(&mut self.scene);
        let pause = match self.scene.ground.random.chance(150) {
            true => self.scene.ground.random.millis(5_000..25_000),
            false => self.scene.ground.random.millis(10..3000),
        };
        self.scene.ground.after(pause, Event::Started(Who::JobTracker));
    }

    fn crash_tracker(&mut self, n: usize) {
        self.trackers[n].crash(&mut self.scene);
        let pause = match self.scene.ground.random.chance(300) {
            true => self.scene.ground.random.millis(5_000..25_000),
            false => self.scene.ground.random.millis(10..3000),
        };
        self.scene.ground.after(pause, Event::Started(Who::Tracker(n)));
    }

    /// A map output disappears from a disk; its tracker notices when a reduce asks for it.
    fn lose_output(&mut self) {
        let all: Vec<_> = self.scene.outputs.on_disk.keys().copied().collect();
        let Some(output) = all.get(self.scene.ground.random.below(all.len().max(1))) else {
            return;
        };
        self.scene.ground.say(format_args!("the output of {output} vanishes"));
        self.scene.outputs.on_disk.remove(output);
    }

    fn break_partition(&mut self) {
        let all: Vec<_> = self.scene.outputs.on_disk.keys().copied().collect();
        let random = &mut self.scene.ground.random;
        let Some(output) = all.get(random.below(all.len().max(1))) else { return };
        let partition = random.below(3) as u32;
        self.scene.ground.say(format_args!("partition {partition} of {output} breaks"));
        self.scene.outputs.broken.insert((*output, partition));
    }

    /// Ends all faults: everything works from now on, and every process runs, suspended ones when
    /// their time is over.
    pub(crate) fn mend(&mut self) {
        self.scene.ground.say(format_args!("all is mended"));
        self.scene.is_calm = true;
        self.scene.settled_at = self.scene.ground.now().monotonic + SETTLES_AFTER;
        self.scene.ground.weather = Weather::default();
        self.scene.ground.heal_all();
        self.begin(Fault::StoreIsUp);
        self.begin(Fault::JournalHasRoom);
        self.scene.store.breaks = 0;
        self.scene.ground.after(Duration::ZERO, Event::Started(Who::JobTracker));
        for n in 0..self.n_present {
            self.begin(Fault::DiskHasRoom(n));
            self.begin(Fault::Thaw(n));
            self.begin(Fault::Cured(n));
            self.scene.ground.after(Duration::ZERO, Event::Started(Who::Tracker(n)));
        }
    }
}
