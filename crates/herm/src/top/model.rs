//! What `herm top` knows and how keys change it; it neither draws nor waits.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use herm_wire::{EventBody, Kind, ServiceView, State};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Lines of the selected service's log that are kept for scrolling back.
const KEPT_LINES: usize = 2000;

/// In which order services of a kind stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// What needs somebody first.
    #[default]
    Trouble,
    Name,
    Memory,
    Processor,
    Restarts,
}

impl Sort {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Name => "name",
            Self::Memory => "memory",
            Self::Processor => "processor",
            Self::Restarts => "restarts",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Name,
            Self::Name => Self::Memory,
            Self::Memory => Self::Processor,
            Self::Processor => Self::Restarts,
            Self::Restarts => Self::Trouble,
        }
    }
}

/// What a key asks of the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Leave.
    Quit,
    /// Carry out a verb (`start`, `stop`, `restart`) on a service.
    Order { verb: &'static str, name: String },
}

/// What is in front of the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Tree,
    /// The filter is being typed.
    Filter,
    /// A stop waits for its confirmation.
    ConfirmStop(String),
    Help,
}

/// Everything on the screen.
#[derive(Debug, Default)]
pub(super) struct Model {
    services: BTreeMap<String, ServiceView>,
    selected: Option<String>,
    pub(super) sort: Sort,
    pub(super) filter: String,
    pub(super) mode: Mode,
    /// What the last verb came to, or why there is no news.
    pub(super) notice: Option<String>,
    /// Why the supervisor can't be heard; what is shown is then old.
    pub(super) lost: Option<String>,
    pub(super) log: Vec<String>,
    /// Lines scrolled back from the end of the log.
    pub(super) back: usize,
}

impl Model {
    /// Takes in an event of the supervisor.
    pub(super) fn hear(&mut self, event: EventBody) {
        self.lost = None;
        match event {
            EventBody::Snapshot(snapshot) => {
                let named = snapshot.services.into_iter();
                self.services = named
                    .map(|service| (service.name.clone(), service))
                    .collect();
            }
            EventBody::Changed { service } => {
                self.services.insert(service.name.clone(), *service);
            }
            EventBody::Removed { name, .. } => {
                self.services.remove(&name);
            }
            EventBody::Notice { message } => self.notice = Some(message),
            EventBody::ShuttingDown => self.notice = Some("everything is being stopped".into()),
            _ => {}
        }
    }

    /// Time passes: what runs has run for longer.
    pub(super) fn pass(&mut self, span: Duration) {
        for service in self
            .services
            .values_mut()
            .filter(|service| service.pid.is_some())
        {
            service.uptime_s += span.as_secs_f64();
        }
    }

    /// Every service, to have measurements filled in.
    pub(super) fn services_mut(&mut self) -> impl Iterator<Item = &mut ServiceView> {
        self.services.values_mut()
    }

    /// Every service.
    pub(super) fn services(&self) -> Vec<ServiceView> {
        self.services.values().cloned().collect()
    }

    /// The services shown, kinds together, in order.
    pub(super) fn rows(&self) -> Vec<&ServiceView> {
        let mut rows: Vec<&ServiceView> = self
            .services
            .values()
            .filter(|service| self.is_shown(service))
            .collect();
        rows.sort_by(|a, b| {
            branch(a.kind)
                .cmp(&branch(b.kind))
                .then_with(|| self.order(a, b))
        });
        rows
    }

    fn is_shown(&self, service: &ServiceView) -> bool {
        let wanted = self.filter.to_lowercase();
        let in_words = [
            service.name.as_str(),
            super::view::word(service.state),
            &service.reason,
        ];
        wanted.is_empty()
            || in_words
                .iter()
                .any(|words| words.to_lowercase().contains(&wanted))
    }

    fn order(&self, a: &ServiceView, b: &ServiceView) -> Ordering {
        let by = match self.sort {
            Sort::Trouble => trouble(a).cmp(&trouble(b)),
            Sort::Name => Ordering::Equal,
            Sort::Memory => b.memory_bytes.cmp(&a.memory_bytes),
            Sort::Processor => {
                let share = |service: &ServiceView| service.cpu_percent.unwrap_or(0.0);
                share(b).total_cmp(&share(a))
            }
            Sort::Restarts => b.restarts.cmp(&a.restarts),
        };
        by.then_with(|| a.name.cmp(&b.name))
    }

    /// The service that the keys are about: the one chosen, else the first.
    pub(super) fn selected(&self) -> Option<&ServiceView> {
        let rows = self.rows();
        let chosen = self.selected.as_deref();
        let found = rows.iter().find(|row| chosen == Some(row.name.as_str()));
        found.or(rows.first()).copied()
    }

    /// Its place among the rows.
    pub(super) fn position(&self) -> Option<usize> {
        let name = &self.selected()?.name;
        self.rows().iter().position(|row| row.name == *name)
    }

    /// Puts new lines under the old ones.
    pub(super) fn append_log(&mut self, lines: impl IntoIterator<Item = String>) {
        let before = self.log.len();
        self.log.extend(lines);
        if self.back > 0 {
            // What is being read stays where it is.
            self.back += self.log.len() - before;
        }
        let surplus = self.log.len().saturating_sub(KEPT_LINES);
        self.log.drain(..surplus);
        self.back = self.back.min(self.log.len());
    }

    /// Another service was chosen, or its log begins anew.
    pub(super) fn clear_log(&mut self) {
        self.log.clear();
        self.back = 0;
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Effect> {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(Effect::Quit);
        }
        match std::mem::take(&mut self.mode) {
            Mode::Filter => self.press_in_filter(key.code),
            Mode::ConfirmStop(name) => {
                let confirmed = matches!(key.code, KeyCode::Char('y' | 'Y'));
                return confirmed.then_some(Effect::Order { verb: "stop", name });
            }
            Mode::Help => {}
            Mode::Tree => return self.press_in_tree(key.code),
        }
        None
    }

    fn press_in_filter(&mut self, code: KeyCode) {
        self.mode = Mode::Filter;
        match code {
            KeyCode::Char(letter) => self.filter.push(letter),
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Enter => self.mode = Mode::Tree,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Tree;
            }
            _ => {}
        }
    }

    fn press_in_tree(&mut self, code: KeyCode) -> Option<Effect> {
        match code {
            KeyCode::Char('q') => return Some(Effect::Quit),
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('o') => self.sort = self.sort.next(),
            KeyCode::Char('s') => return self.order_of("start"),
            KeyCode::Char('r') => return self.order_of("restart"),
            KeyCode::Char('x') => {
                let name = self.selected()?.name.clone();
                self.mode = Mode::ConfirmStop(name);
            }
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Home => self.step(isize::MIN / 2),
            KeyCode::End => self.step(isize::MAX / 2),
            KeyCode::PageUp => self.back = (self.back + 10).min(self.log.len()),
            KeyCode::PageDown => self.back = self.back.saturating_sub(10),
            KeyCode::Esc => {
                self.filter.clear();
                self.notice = None;
                self.back = 0;
            }
            _ => {}
        }
        None
    }

    fn order_of(&self, verb: &'static str) -> Option<Effect> {
        let name = self.selected()?.name.clone();
        Some(Effect::Order { verb, name })
    }

    fn step(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let to = self
            .position()
            .unwrap_or(0)
            .saturating_add_signed(by)
            .min(last);
        let chosen = rows.get(to).map(|row| row.name.clone());
        self.selected = chosen;
    }
}

/// The order of the tree's branches, as `herm status` has them.
pub(super) fn branch(kind: Kind) -> u8 {
    match kind {
        Kind::Main => 0,
        Kind::Gateway => 1,
        Kind::Service => 2,
        Kind::Helper => 3,
    }
}

fn trouble(service: &ServiceView) -> u8 {
    let unhealthy = service.health.as_deref() == Some("unhealthy");
    match service.state {
        State::Failed | State::Parked => 0,
        State::Backoff => 1,
        State::Running if unhealthy => 1,
        State::Starting | State::Stopping => 2,
        State::Running | State::Served | State::Remote => 3,
        State::Down => 4,
        State::Disabled => 5,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use herm_wire::Snapshot;

    pub(crate) fn service(name: &str, state: &str, reason: &str) -> ServiceView {
        serde_json::from_value(serde_json::json!({
            "name": name, "kind": if name.starts_with("gateway-") { "gateway" } else { "helper" },
            "desired": "up", "state": state, "reason": reason, "pid": 42, "port": 9298,
            "since": "2026-11-20T20:30:10Z", "uptime_s": 61.0, "restarts": 2, "ready": true,
        }))
        .unwrap()
    }

    pub(crate) fn model() -> Model {
        let mut model = Model::default();
        model.hear(EventBody::Snapshot(Snapshot {
            instance: "i".into(),
            services: vec![
                service("keeper", "running", "ready"),
                service("gateway-alpha", "running", "ready"),
                service("gateway-writer", "parked", "exit 78, bad configuration"),
            ],
            orders: vec![],
            reconcile: None,
        }));
        model
    }

    fn names(model: &Model) -> Vec<&str> {
        model.rows().iter().map(|row| row.name.as_str()).collect()
    }

    fn press(model: &mut Model, keys: &str) -> Option<Effect> {
        let press = |letter| model.press(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE));
        keys.chars().map(press).last().flatten()
    }

    #[test]
    fn what_needs_somebody_stands_first_within_its_kind() {
        let mut model = model();
        assert_eq!(names(&model), ["gateway-writer", "gateway-alpha", "keeper"]);
        press(&mut model, "o");
        assert_eq!(names(&model), ["gateway-alpha", "gateway-writer", "keeper"]);
    }

    #[test]
    fn a_filter_looks_at_names_states_and_reasons() {
        let mut model = model();
        press(&mut model, "/78");
        assert_eq!(names(&model), ["gateway-writer"]);
        model.press(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
        assert_eq!(names(&model).len(), 3);
    }

    #[test]
    fn the_selection_stays_on_its_service_when_the_order_changes() {
        let mut model = model();
        press(&mut model, "j");
        assert_eq!(model.selected().unwrap().name, "gateway-alpha");
        model.hear(EventBody::Changed {
            service: Box::new(service("gateway-alpha", "failed", "exit 1")),
        });
        assert_eq!(model.selected().unwrap().name, "gateway-alpha");
        assert_eq!(model.position(), Some(0));
        model.hear(EventBody::Removed {
            name: "gateway-alpha".into(),
            withdrawn: false,
        });
        assert_eq!(model.selected().unwrap().name, "gateway-writer");
    }

    #[test]
    fn stopping_asks_first_and_anything_but_yes_is_no() {
        let mut model = model();
        assert_eq!(press(&mut model, "xn"), None);
        assert_eq!(model.mode, Mode::Tree);
        let stop = Effect::Order {
            verb: "stop",
            name: "gateway-writer".into(),
        };
        assert_eq!(press(&mut model, "xy"), Some(stop));
    }

    #[test]
    fn keys_in_an_empty_tree_do_nothing() {
        let mut model = Model::default();
        assert_eq!(press(&mut model, "jksrxGo/"), None);
        assert_eq!(press(&mut Model::default(), "s"), None);
    }

    #[test]
    fn what_runs_grows_older_without_news() {
        let mut model = model();
        model.pass(Duration::from_secs(9));
        assert!((model.selected().unwrap().uptime_s - 70.0).abs() < 1e-9);
    }

    #[test]
    fn a_log_that_is_being_read_stays_where_it_is() {
        let mut model = model();
        model.append_log((0..50).map(|n| format!("line {n}")));
        model.press(KeyEvent::new(KeyCode::PageUp, KeyModifiers::NONE));
        model.append_log(["one more".to_owned()]);
        assert_eq!(model.back, 11);
        model.append_log((0..5000).map(|n| n.to_string()));
        assert_eq!((model.log.len(), model.back), (KEPT_LINES, KEPT_LINES));
    }
}
