//! Whom an AccessPolicy lets in: callers that there can be.

use crate::{
    kind::{AccessRule, ServiceAccount},
    parse::{Severity, report::nearest},
    value::Name,
};

use super::{Check, listed};

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
            for (account, number) in rule.from.service_accounts.iter().zip(0..) {
                let ServiceAccount { namespace, name } = account;
                let written = called(own, namespace, name);
                let field = field("serviceAccounts", number);
                self.caller(written, (namespace, name), &field);
            }
            for (principal, number) in rule.from.principals.iter().zip(0..) {
                // Of another mesh nothing is known.
                if self.index.trust_domain.as_ref() == Some(&principal.trust_domain) {
                    let account = (&principal.namespace, &principal.service_account);
                    self.caller(principal.to_string(), account, &field("principals", number));
                }
            }
        }
    }

    fn caller(&mut self, written: String, account: (&Name, &Name), field: &str) {
        let accounts = &self.index.accounts;
        if accounts.contains(&account) {
            return;
        }
        let own = self.namespace();
        let name = |(namespace, name): &(&Name, &Name)| called(own, namespace, name);
        let all: Vec<String> = accounts.iter().map(name).collect();
        let there = accounts.iter().filter(|other| other.0 == account.0);
        let there: Vec<String> = there.map(name).collect();
        let known = if there.is_empty() { &all } else { &there };
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let meant = called(own, account.0, account.1);
        let near = nearest(&meant, all.iter().map(String::as_str));
        let found = format!("`{written}`, but no Workload has this service account");
        let words = (found, listed(&known));
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
