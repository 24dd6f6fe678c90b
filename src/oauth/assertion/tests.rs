use base64::engine::general_purpose::STANDARD;
use ring::signature::{KeyPair as _, UnparsedPublicKey, VerificationAlgorithm};

use super::*;

/// A key for tests only.
const RSA: &str = include_str!("../../../tests/it/fixtures/rsa.pem");

fn pem(der: &[u8]) -> SecretString {
    let text = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der)
    );
    SecretString::from(text)
}

fn assertion(signer: Signer) -> Assertion {
    Assertion {
        signer,
        issuer: "us".into(),
        subject: Some("ana".into()),
        audience: "https://login.acme.example/token".into(),
        lifetime: Duration::from_mins(5),
        claims: vec![("box_sub_type".into(), "user".into())],
        claims_scope: false,
    }
}

/// Verifies the signature of an assertion and returns its header and claims.
fn verified(
    signed: &SecretString,
    algorithm: &'static dyn VerificationAlgorithm,
    public: &[u8],
) -> (Value, Value) {
    let (message, signature) = signed.expose_secret().rsplit_once('.').unwrap();
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    UnparsedPublicKey::new(algorithm, public)
        .verify(message.as_bytes(), &bytes(signature))
        .expect("a good signature");
    let (header, claims) = message.split_once('.').unwrap();
    let json = |part| serde_json::from_slice(&bytes(part)).unwrap();
    (json(header), json(claims))
}

#[test]
fn what_is_claimed_is_what_rfc_7523_wants() {
    let signer = Signer::new(&RSA.into(), Algorithm::RS256, Some("k1".into())).unwrap();
    let Key::Rsa(key, _) = &signer.key else { panic!("RSA") };
    let public = key.public_key().as_ref().to_vec();
    let assertion = assertion(signer);
    let scopes = Scopes::new(["a", "b"]);
    let sign = |assertion: &Assertion| {
        let signed = assertion.sign(&scopes, Time::from_millis(1_700_000_000_999)).unwrap();
        verified(&signed, &signature::RSA_PKCS1_2048_8192_SHA256, &public)
    };
    let (header, mut claims) = sign(&assertion);
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let id = claims["jti"].take();
    assert_ne!(sign(&assertion).1["jti"], id);
    let expected = json!({
        "box_sub_type": "user",
        "iss": "us",
        "sub": "ana",
        "aud": "https://login.acme.example/token",
        "iat": 1_700_000_000,
        "exp": 1_700_000_300,
        "jti": null,
    });
    assert_eq!(claims, expected);
    let google = Assertion { claims_scope: true, subject: None, ..assertion };
    let (_, claims) = sign(&google);
    assert_eq!((claims.get("sub"), &claims["scope"]), (None, &json!("a b")));
}

#[test]
fn every_algorithm_signs_as_it_says() {
    let random = SystemRandom::new();
    let rsa: [(Algorithm, &'static dyn VerificationAlgorithm); 6] = [
        (Algorithm::RS256, &signature::RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::RS384, &signature::RSA_PKCS1_2048_8192_SHA384),
        (Algorithm::RS512, &signature::RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::PS256, &signature::RSA_PSS_2048_8192_SHA256),
        (Algorithm::PS384, &signature::RSA_PSS_2048_8192_SHA384),
        (Algorithm::PS512, &signature::RSA_PSS_2048_8192_SHA512),
    ];
    let check = |signer: Signer, verification, public: &[u8]| {
        let name = signer.algorithm.name();
        let signed = assertion(signer).sign(&Scopes::default(), Time::from_millis(0)).unwrap();
        assert_eq!(verified(&signed, verification, public).0["alg"], name);
    };
    for (algorithm, verification) in rsa {
        let signer = Signer::new(&RSA.into(), algorithm, None).unwrap();
        let Key::Rsa(key, _) = &signer.key else { panic!("RSA") };
        let public = key.public_key().as_ref().to_vec();
        check(signer, verification, &public);
    }
    let curves: [(Algorithm, &'static EcdsaSigningAlgorithm, &'static dyn VerificationAlgorithm);
        2] = [
        (
            Algorithm::ES256,
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            &signature::ECDSA_P256_SHA256_FIXED,
        ),
        (
            Algorithm::ES384,
            &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            &signature::ECDSA_P384_SHA384_FIXED,
        ),
    ];
    for (algorithm, curve, verification) in curves {
        let der = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        let signer = Signer::new(&pem(der.as_ref()), algorithm, None).unwrap();
        let Key::Ecdsa(key) = &signer.key else { panic!("ECDSA") };
        let public = key.public_key().as_ref().to_vec();
        check(signer, verification, &public);
    }
    let der = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let signer = Signer::new(&pem(der.as_ref()), Algorithm::EdDSA, None).unwrap();
    let Key::Ed25519(key) = &signer.key else { panic!("Ed25519") };
    let public = key.public_key().as_ref().to_vec();
    check(signer, &signature::ED25519, &public);
}

#[test]
fn a_key_of_no_use_says_why_and_nothing_of_itself() {
    let signer = |text: &str, algorithm| Signer::new(&text.into(), algorithm, None);
    let error = |text: &str, algorithm| signer(text, algorithm).unwrap_err();
    assert!(signer(&RSA.replace('\n', "\\n"), Algorithm::RS256).is_ok(), "line breaks written out");
    assert_eq!(error("hunter2", Algorithm::RS256), KeyError::NoKey);
    let protected = RSA.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert_eq!(error(&protected, Algorithm::RS256), KeyError::Protected);
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        assert!(matches!(error(RSA, algorithm), KeyError::Unfit { .. }));
    }
    assert_eq!(
        format!("{:?}", signer(RSA, Algorithm::PS256).unwrap()),
        "Signer(PS256, [REDACTED])"
    );
}

#[test]
fn a_service_account_s_file_cannot_redirect_its_assertions() {
    let endpoint: Url = "https://oauth2.googleapis.com/token".parse().unwrap();
    let file = |token_uri: &str, kind: &str| {
        let file = json!({
            "type": kind,
            "client_email": "robot@acme.iam.example",
            "private_key": RSA,
            "private_key_id": "7",
            "token_uri": token_uri,
        });
        ServiceAccount::read(&SecretString::from(file.to_string()), &endpoint)
    };
    let account = file("https://oauth2.googleapis.com/token", "service_account").unwrap();
    assert_eq!(account.email, "robot@acme.iam.example");
    assert_eq!(account.signer.key_id.as_deref(), Some("7"));
    let elsewhere = file("https://evil.example/token", "service_account");
    assert_eq!(elsewhere.unwrap_err(), KeyError::OtherTokenEndpoint);
    let user = file("https://oauth2.googleapis.com/token", "authorized_user");
    assert_eq!(user.unwrap_err(), KeyError::NoServiceAccount);
    let nothing = ServiceAccount::read(&"{\"type\": \"hunter2".into(), &endpoint);
    assert_eq!(nothing.unwrap_err(), KeyError::NoServiceAccount);
}
