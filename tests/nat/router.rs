//! Routers on loopback: one that speaks NAT-PMP, one that speaks UPnP.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use gwa::nat::Places;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How a router behaves.
#[derive(Clone, Copy)]
pub struct Behaviour {
    /// Its address outside.
    pub outside: Ipv4Addr,
    /// Opens the port after the one asked for.
    pub other_port: bool,
    /// Knows leases without end alone.
    pub permanent_only: bool,
    /// Another machine has the port.
    pub taken: bool,
    /// Answers nothing.
    pub silent: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            outside: super::OUTSIDE.parse().expect("well formed"),
            other_port: false,
            permanent_only: false,
            taken: false,
            silent: false,
        }
    }
}

/// What a router was asked, and does.
#[derive(Clone, Default)]
pub struct State {
    forwarded: BTreeMap<(String, u16), u32>,
    /// Datagrams heard.
    pub heard: usize,
    /// Ports asked for.
    pub asked: usize,
    /// Ports given back.
    pub given_back: usize,
}

impl State {
    /// What is forwarded: transport, port here, seconds.
    pub fn forwards(&self) -> Vec<String> {
        self.forwarded
            .iter()
            .map(|((transport, port), lease)| format!("{transport} {port} {lease}"))
            .collect()
    }

    fn map(&mut self, transport: &str, port: u16, lease: u32) {
        self.asked += 1;
        self.forwarded.insert((transport.to_owned(), port), lease);
    }

    fn unmap(&mut self, transport: &str, port: u16) {
        self.given_back += 1;
        self.forwarded.remove(&(transport.to_owned(), port));
    }
}

async fn udp() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("loopback works");
    let address = socket.local_addr().expect("loopback works");
    (socket, address)
}

/// A router that speaks NAT-PMP.
pub struct PmpRouter {
    at: SocketAddr,
    pub state: watch::Receiver<State>,
    _tasks: JoinSet<()>,
}

impl PmpRouter {
    pub async fn start(behaviour: Behaviour) -> Self {
        let (socket, at) = udp().await;
        let (change, state) = watch::channel(State::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut buffer = [0; 64];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.expect("loopback works");
                change.send_modify(|state| state.heard += 1);
                let answer = pmp_answer(&buffer[..len], behaviour, &change);
                if !behaviour.silent {
                    socket.send_to(&answer, from).await.expect("loopback works");
                }
            }
        });
        Self {
            at,
            state,
            _tasks: tasks,
        }
    }

    pub fn places(&self) -> Places {
        let SocketAddr::V4(at) = self.at else {
            panic!("bound to IPv4");
        };
        Places {
            pmp: Some(at),
            ..Places::default()
        }
    }
}

fn pmp_answer(asked: &[u8], behaviour: Behaviour, change: &watch::Sender<State>) -> Vec<u8> {
    let begin = [0, 128 + asked[1], 0, 0, 0, 0, 0, 9];
    let rest: Vec<u8> = match *asked {
        [0, 0] => behaviour.outside.octets().to_vec(),
        [0, op @ (1 | 2), 0, 0, i0, i1, e0, e1, l0, l1, l2, l3] => {
            let transport = if op == 1 { "UDP" } else { "TCP" };
            let port = u16::from_be_bytes([i0, i1]);
            let lifetime = u32::from_be_bytes([l0, l1, l2, l3]);
            let mut given = u16::from_be_bytes([e0, e1]);
            change.send_modify(|state| match lifetime {
                0 => state.unmap(transport, port),
                _ => state.map(transport, port, lifetime.max(1)),
            });
            given += u16::from(behaviour.other_port && lifetime > 0);
            [&[i0, i1][..], &given.to_be_bytes(), &[l0, l1, l2, l3]].concat()
        }
        ref other => panic!("no request: {other:?}"),
    };
    [&begin[..], &rest].concat()
}

/// A router that speaks UPnP.
pub struct UpnpRouter {
    ssdp: SocketAddr,
    pub state: watch::Receiver<State>,
    _tasks: JoinSet<()>,
}

const SERVICE: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";

impl UpnpRouter {
    pub async fn start(behaviour: Behaviour) -> Self {
        let (socket, ssdp) = udp().await;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback works");
        let http = listener.local_addr().expect("loopback works");
        let (change, state) = watch::channel(State::default());
        let change = Arc::new(change);
        let heard = Arc::clone(&change);
        let app = Router::new()
            .route("/device.xml", get(async || device()))
            .route("/service.xml", get(async || service()))
            .route(
                "/control",
                post(async move |body: String| soap_answer(&body, behaviour, &change)),
            );
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.expect("loopback works") });
        tasks.spawn(async move {
            let mut buffer = [0; 1_024];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.expect("loopback works");
                heard.send_modify(|state| state.heard += 1);
                assert!(buffer[..len].starts_with(b"M-SEARCH * HTTP/1.1\r\n"));
                let found = format!(
                    "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n\
                     ST: {SERVICE}\r\nLOCATION: http://{http}/device.xml\r\n\r\n"
                );
                // Whoever searched may have heard enough.
                let _ = socket.send_to(found.as_bytes(), from).await;
            }
        });
        Self {
            ssdp,
            state,
            _tasks: tasks,
        }
    }

    /// Nobody speaks NAT-PMP there: the discard port.
    pub fn places(&self) -> Places {
        Places {
            ssdp: self.ssdp,
            pmp: Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9)),
        }
    }
}

fn device() -> String {
    format!(
        r#"<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
        <deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
        <serviceList><service><serviceType>{SERVICE}</serviceType>
        <serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
        <SCPDURL>/service.xml</SCPDURL><controlURL>/control</controlURL>
        <eventSubURL>/events</eventSubURL></service></serviceList></device></root>"#
    )
}

fn service() -> String {
    let action = |name: &str, arguments: &[&str]| {
        let arguments: String = arguments
            .iter()
            .map(|name| {
                format!("<argument><name>{name}</name><direction>in</direction></argument>")
            })
            .collect();
        format!("<action><name>{name}</name><argumentList>{arguments}</argumentList></action>")
    };
    format!(
        r#"<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0"><actionList>
        {}{}</actionList></scpd>"#,
        action(
            "AddPortMapping",
            &[
                "NewRemoteHost",
                "NewExternalPort",
                "NewProtocol",
                "NewInternalPort",
                "NewInternalClient",
                "NewEnabled",
                "NewPortMappingDescription",
                "NewLeaseDuration",
            ]
        ),
        action(
            "DeletePortMapping",
            &["NewRemoteHost", "NewExternalPort", "NewProtocol"]
        ),
    )
}

fn soap_answer(
    body: &str,
    behaviour: Behaviour,
    change: &watch::Sender<State>,
) -> (StatusCode, String) {
    let value = |name: &str| -> String {
        let (_, rest) = body.split_once(&format!("<{name}>")).expect(name);
        rest.split_once("</").expect(name).0.to_owned()
    };
    let good = |action: &str, inner: &str| {
        let body =
            format!(r#"<u:{action}Response xmlns:u="{SERVICE}">{inner}</u:{action}Response>"#);
        (StatusCode::OK, envelope(&body))
    };
    let bad = |code: u16| {
        let body = format!(
            "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring>\
             <detail><UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\">\
             <errorCode>{code}</errorCode><errorDescription>no</errorDescription>\
             </UPnPError></detail></s:Fault>"
        );
        (StatusCode::INTERNAL_SERVER_ERROR, envelope(&body))
    };
    if body.contains("GetExternalIPAddress") {
        let ip = behaviour.outside;
        let inner = format!("<NewExternalIPAddress>{ip}</NewExternalIPAddress>");
        return good("GetExternalIPAddress", &inner);
    }
    let port: u16 = value("NewExternalPort").parse().expect("well formed");
    let transport = value("NewProtocol");
    if body.contains("DeletePortMapping") {
        change.send_modify(|state| state.unmap(&transport, port));
        return good("DeletePortMapping", "");
    }
    assert_eq!(value("NewInternalClient"), "127.0.0.1");
    assert_eq!(value("NewInternalPort"), port.to_string());
    let lease: u32 = value("NewLeaseDuration").parse().expect("well formed");
    if behaviour.taken {
        change.send_modify(|state| state.asked += 1);
        // ConflictInMappingEntry.
        return bad(718);
    }
    if behaviour.permanent_only && lease != 0 {
        return bad(725);
    }
    change.send_modify(|state| state.map(&transport, port, lease));
    good("AddPortMapping", "")
}

fn envelope(body: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"
        s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>{body}</s:Body></s:Envelope>"#
    )
}
