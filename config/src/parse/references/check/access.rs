//! Whom an AccessPolicy lets in: callers that there can be.

use crate::{
    kind::AccessRule,
    parse::{Severity, report::nearest_qualified},
    value::{Name, SpiffeId},
};

use super::{Check, listed_first};

impl Check<'_, '_> {
    /// Only warnings: a Workload may be written a moment later, or its namespace be another directory's.
    pub(super) fn callers(&mut self, rules: &[AccessRule]) {
        // Who names no Workload at all checks a part of a configuration.
        if self.index.partial || self.index.accounts.is_empty() {
            return;
        }
        for (rule, at) in rules.iter().zip(0..) {
            let field = |list, number| format!("spec.rules[{at}].from.{list}[{number}]");
            let own = self.namespace();
            let short = |namespace: &Name, name: &Name| called(own, namespace, name);
            for (account, number) in rule.from.service_accounts.iter().zip(0..) {
                let account = (&account.namespace, &account.name);
                self.caller(account, &short, &field("serviceAccounts", number));
            }
            for (principal, number) in rule.from.principals.iter().zip(0..) {
                let domain = &principal.trust_domain;
                // Of another mesh nothing is known.
                if self.index.trust_domain.as_ref() == Some(domain) {
                    let account = (&principal.namespace, &principal.service_account);
                    let long = |namespace: &Name, name: &Name| {
                        SpiffeId::new(domain.clone(), namespace.clone(), name.clone()).to_string()
                    };
                    self.caller(account, &long, &field("principals", number));
                }
            }
        }
    }

    /// `spell`: as the field spells accounts.
    fn caller(
        &mut self,
        account: (&Name, &Name),
        spell: &dyn Fn(&Name, &Name) -> String,
        field: &str,
    ) {
        let accounts = &self.index.accounts;
        if accounts.contains(&account) {
            return;
        }
        let spelled = |(namespace, name): &(&Name, &Name)| spell(namespace, name);
        let there = || accounts.iter().filter(|other| other.0 == account.0);
        let known = match there().count() {
            0 => listed_first(accounts.len(), accounts.iter().map(spelled)),
            number => listed_first(number, there().map(spelled)),
        };
        let names = accounts
            .iter()
            .map(|other| (other.0.as_str(), other.1.as_str()));
        let near = nearest_qualified((account.0.as_str(), account.1.as_str()), names);
        let near = near.and_then(|(namespace, name)| {
            let mut all = accounts.iter();
            all.find(|other| other.0.as_str() == namespace && other.1.as_str() == name)
        });
        let near = near.map(spelled);
        let written = spell(account.0, account.1);
        let found = format!("`{written}`, but no Workload has this service account");
        let words = (found, known);
        self.add(Severity::Warning, field, words, near);
    }
}

/// As the policy would write it.
fn called(own: &Name, namespace: &Name, name: &Name) -> String {
    if namespace == own {
        name.to_string()
    } else {
        format!("{namespace}/{name}")
    }
}
