//! What sources compile to, and its form as text.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// Whether a service is a process that stays or a script that runs once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A process that stays.
    Longrun,
    /// A script that is run to bring it up, and maybe one to bring it down.
    Oneshot,
}

/// A service that isn't a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where its definition lies.
    pub path: String,
    /// Services, no bundles, that must be up before it.
    pub dependencies: Vec<String>,
    /// It isn't stopped unless that is insisted on.
    pub essential: bool,
    /// Milliseconds it may take to come up; 0: any time.
    pub timeout_up: u32,
    /// Milliseconds it may take to go down; 0: any time.
    pub timeout_down: u32,
    /// The consumer that its output goes to.
    pub producer_for: Option<String>,
    /// The producers whose output it reads.
    pub consumer_for: Vec<String>,
    /// A oneshot's command lines.
    pub up: Vec<Vec<u8>>,
    /// The same, to bring it down.
    pub down: Vec<Vec<u8>>,
}

/// All services of a set of sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// Services, in an order in which each comes after all it depends on.
    pub services: Vec<Service>,
    /// Bundles, each with the services it stands for.
    pub bundles: Vec<(String, Vec<String>)>,
}

impl Database {
    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The services that a name stands for; nothing if there is no such service or bundle.
    pub fn atomics(&self, name: &str) -> Option<Vec<&Service>> {
        if let Some(service) = self.service(name) {
            return Some(alloc::vec![service]);
        }
        let (_, members) = self.bundles.iter().find(|(bundle, _)| bundle == name)?;
        Some(
            members
                .iter()
                .filter_map(|name| self.service(name))
                .collect(),
        )
    }

    /// These services and all they need, in an order to start them.
    pub fn with_dependencies(&self, names: &[&str]) -> Vec<&Service> {
        let mut wanted: Vec<&str> = names.to_vec();
        // Each comes after what it needs: one pass from the last to the first finds all.
        for service in self.services.iter().rev() {
            if wanted.contains(&service.name.as_str()) {
                wanted.extend(service.dependencies.iter().map(String::as_str));
            }
        }
        self.services
            .iter()
            .filter(|service| wanted.contains(&service.name.as_str()))
            .collect()
    }

    /// These services and all that need them, in an order to stop them.
    pub fn with_dependents(&self, names: &[&str]) -> Vec<&Service> {
        let mut wanted: Vec<&str> = names.to_vec();
        for service in &self.services {
            if service
                .dependencies
                .iter()
                .any(|needed| wanted.contains(&needed.as_str()))
            {
                wanted.push(&service.name);
            }
        }
        self.services
            .iter()
            .rev()
            .filter(|service| wanted.contains(&service.name.as_str()))
            .collect()
    }

    /// The database as lines of fields parted by tabs.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |fields: &[&str], rest: &[String]| {
            text.push_str(&fields.join("\t"));
            for field in rest {
                text.push('\t');
                text.push_str(field);
            }
            text.push('\n');
        };
        for service in &self.services {
            let kind = match service.kind {
                Kind::Longrun => "longrun",
                Kind::Oneshot => "oneshot",
            };
            let essential = if service.essential { "essential" } else { "" };
            let (up, down) = (
                service.timeout_up.to_string(),
                service.timeout_down.to_string(),
            );
            let to = service.producer_for.as_deref().unwrap_or("");
            let fields = [
                kind,
                &service.name,
                &service.path,
                essential,
                &up,
                &down,
                to,
            ];
            line(&fields, &service.dependencies);
        }
        for (name, members) in &self.bundles {
            line(&["bundle", name], members);
        }
        text
    }

    /// Reads what [`Database::to_text`] wrote: everything but the scripts, which lie beside it.
    /// Lines that make no sense are passed over.
    pub fn parse(text: &str) -> Self {
        let mut database = Self::default();
        // Not lines(): a name may end in a carriage return.
        for line in text.split('\n') {
            let mut fields = line.split('\t').map(str::to_string);
            let kind = match fields.next().as_deref() {
                Some("longrun") => Kind::Longrun,
                Some("oneshot") => Kind::Oneshot,
                Some("bundle") => {
                    if let Some(name) = fields.next() {
                        database.bundles.push((name, fields.collect()));
                    }
                    continue;
                }
                _ => continue,
            };
            let mut next = || fields.next().unwrap_or_default();
            let (name, path, essential) = (next(), next(), !next().is_empty());
            let (up, down, to) = (next().parse(), next().parse(), next());
            let (Ok(timeout_up), Ok(timeout_down)) = (up, down) else {
                continue;
            };
            database.services.push(Service {
                name,
                kind,
                path,
                dependencies: fields.collect(),
                essential,
                timeout_up,
                timeout_down,
                producer_for: Some(to).filter(|to| !to.is_empty()),
                consumer_for: Vec::new(),
                up: Vec::new(),
                down: Vec::new(),
            });
        }
        let pairs: Vec<(String, String)> = database
            .services
            .iter()
            .filter_map(|service| Some((service.name.clone(), service.producer_for.clone()?)))
            .collect();
        for service in &mut database.services {
            let producers = pairs.iter().filter(|(_, to)| *to == service.name);
            service.consumer_for = producers.map(|(from, _)| from.clone()).collect();
        }
        database
    }
}
