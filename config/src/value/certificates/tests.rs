//! What is a list of certificates, and what is not.

use proptest::prelude::*;

use super::*;

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

const SMALL: [u8; 4] = [0x30, 2, 5, 0];

#[test]
fn certificates_are_read_whatever_stands_between_them() {
    let one = pem("CERTIFICATE", &SMALL);
    let text = format!("# Root A\n{one}\n# Root B\n{}", one.replace('\n', "\r\n"));
    let read: Certificates = text.parse().expect("two certificates");
    assert_eq!(read.der(), [SMALL.to_vec(), SMALL.to_vec()]);
    assert_eq!(read.to_string(), format!("{one}{one}"));
}

#[test]
fn what_is_no_certificate_is_refused() {
    let one = pem("CERTIFICATE", &SMALL);
    let cases = [
        String::new(),
        "ca.crt".to_owned(),
        one.replace("-----END", "-----ENDE"),
        one.replace("MAIF", "MAI*"),
        pem("PRIVATE KEY", &SMALL),
        // A key beside it is as good as published.
        format!("{one}{}", pem("EC PRIVATE KEY", &SMALL)),
        pem("CERTIFICATE", &[]),
        pem("CERTIFICATE", &[0x31, 2, 5, 0]),
        pem("CERTIFICATE", &[0x30, 2, 5, 0, 0]),
        pem("CERTIFICATE", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
        pem("CERTIFICATE", &[0x30, 0x80]),
        one.repeat(CERTIFICATES_MAX + 1),
    ];
    for text in cases {
        assert!(text.parse::<Certificates>().is_err(), "{text}");
    }
    assert!(one.repeat(CERTIFICATES_MAX).parse::<Certificates>().is_ok());
}

#[test]
fn nothing_of_a_refused_text_is_shown_that_could_be_a_key() {
    let text = pem("PRIVATE KEY", &SMALL);
    let parsed = crate::parse::parse_files(&[(
        "a.yaml".into(),
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  ca.crt: |\n    {}",
            text.replace('\n', "\n    ")
        ),
    )]);
    let [mistake] = &parsed.mistakes[..] else {
        panic!("{:?}", parsed.mistakes)
    };
    assert_eq!(
        (mistake.field.as_str(), mistake.found.as_str()),
        ("data.ca.crt", "a PEM block")
    );
}

proptest! {
    #[test]
    fn what_is_written_reads_back(lengths in prop::collection::vec(0_u16..400, 1..6)) {
        let der = lengths.iter().map(|length| {
            let mut der = match u8::try_from(*length) {
                Ok(short @ ..0x80) => vec![0x30, short],
                _ => [&[0x30, 0x82], &length.to_be_bytes()[..]].concat(),
            };
            der.resize(der.len() + usize::from(*length), 7);
            der
        });
        let der: Vec<Vec<u8>> = der.collect();
        let text: String = der.iter().map(|der| pem("CERTIFICATE", der)).collect();
        let read: Certificates = text.parse().expect("certificates");
        prop_assert_eq!(read.der(), &der[..]);
        prop_assert_eq!(read.to_string().parse::<Certificates>().expect("certificates"), read);
    }

    #[test]
    fn any_text_is_survived(text in "(-----BEGIN CERTIFICATE-----|-----END CERTIFICATE-----|[MAIF+/=\n]|\\PC){0,40}") {
        let _ = text.parse::<Certificates>();
    }
}
