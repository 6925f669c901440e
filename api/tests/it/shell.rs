//! What stands around all routes: redirects, errors by path, CORS, gzip.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};

use crate::common::{get, sample_router, send};

#[tokio::test]
async fn a_trailing_slash_is_redirected() {
    let router = sample_router();
    for (path, location) in [
        ("/api/capture/", "/api/capture"),
        ("/api/v1/flows/?app=DNS&limit=1", "/api/v1/flows?app=DNS&limit=1"),
        ("/metrics//", "/metrics"),
    ] {
        let answer = get(&router, path).await;
        assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT, "{path}");
        assert_eq!(answer.header(header::LOCATION), location);
    }
    for path in ["//example.org/", "/", "/%2f/"] {
        let answer = get(&router, path).await;
        assert_eq!(
            (answer.status, answer.header(header::LOCATION)),
            (StatusCode::NOT_FOUND, ""),
            "{path}"
        );
    }
}

#[tokio::test]
async fn everybody_may_log_in() {
    let router = sample_router();
    let post = |form: &'static str| {
        Request::post("/login")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap()
    };
    let answer = send(&router, post("username=admin&password=secret")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json(), serde_json::json!({"Token": "", "Permissions": []}));
    assert_eq!(answer.header(header::SET_COOKIE), "authtoken=; Path=/");
    for form in ["", "username=admin", "password=secret"] {
        let answer = send(&router, post(form)).await;
        assert_eq!(
            (answer.status, answer.text()),
            (StatusCode::UNAUTHORIZED, "No credentials provided"),
            "{form}"
        );
    }
}

#[tokio::test]
async fn errors_have_the_face_of_their_path() {
    let router = sample_router();
    let answer = get(&router, "/api/alert").await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::NOT_FOUND, "there is no `/api/alert` here")
    );
    assert_eq!(answer.content_type(), "text/plain; charset=utf-8");
    let answer = get(&router, "/api/v1/nope").await;
    assert_eq!(answer.problem().0, "not-found");
    let answer = get(&router, "/api/pcap").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(
        (answer.text(), answer.header(header::ALLOW)),
        ("`/api/pcap` takes no GET", "POST")
    );
    let request = Request::delete("/api/v1/flows").body(Body::empty()).unwrap();
    let answer = send(&router, request).await;
    assert_eq!(answer.problem().0, "method-not-allowed");
    assert_eq!(answer.header(header::ALLOW), "GET,HEAD");
}

#[tokio::test]
async fn pages_of_any_origin_may_read() {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri("/api/topology")
        .header(header::ORIGIN, "http://ui.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "x-auth-token")
        .body(Body::empty())
        .unwrap();
    let answer = send(&sample_router(), request).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
    let methods = answer.header(header::ACCESS_CONTROL_ALLOW_METHODS);
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert!(methods.contains(method), "{methods}");
    }
    let headers = answer
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS)
        .to_ascii_lowercase();
    for name in [
        "x-requested-with",
        "content-type",
        "authorization",
        "x-auth-token",
    ] {
        assert!(headers.contains(name), "{headers}");
    }
    let request = Request::get("/api/nope").header(header::ORIGIN, "http://ui.example");
    let answer = send(&sample_router(), request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
}

#[tokio::test]
async fn gzip_when_asked() {
    let request = Request::get("/api/v1/flows").header(header::ACCEPT_ENCODING, "gzip");
    let answer = send(&sample_router(), request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header(header::CONTENT_ENCODING), "gzip");
    assert_eq!(answer.body[..2], [0x1f, 0x8b]);
    assert_eq!(
        get(&sample_router(), "/api/v1/flows")
            .await
            .header(header::CONTENT_ENCODING),
        ""
    );
}
