//! The last link before the socket: counts every byte, and lets an interrupted or stalled wait end.
//!
//! It sits between TCP and TLS in the HTTP library's chain of connectors, so what it counts is what the wire carries. A wait
//! for input is cut into slices; between them it looks whether the user wants to stop.

use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::ledger::Ledger;
use crate::stop::Stop;

/// How long an interrupted wait may go on.
const SLICE: Duration = Duration::from_millis(200);

/// Wraps each connection that is made.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) ledger: Ledger,
    pub(crate) stop: Stop,
}

#[derive(Debug)]
pub(crate) struct Metered<T> {
    inner: T,
    /// `None` for the tunnel through a proxy, whose connection to the proxy is metered already.
    meter: Option<Meter>,
}

impl<In: Transport> Connector<In> for Meter {
    type Out = Metered<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        // Inside the connection to a proxy the library passes a configuration without one.
        let is_tunnel = details.config.proxy().is_some();
        Ok(chained.map(|inner| Metered { inner, meter: (!is_tunnel).then(|| self.clone()) }))
    }
}

impl<T: Transport> Transport for Metered<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)?;
        if let Some(meter) = &self.meter {
            meter.ledger.count(amount, 0);
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let Some(meter) = self.meter.clone() else {
            return self.inner.await_input(timeout);
        };
        let whole = timeout.for_read();
        let mut left: Duration = *whole.after;
        let before = self.inner.buffers().input().len();
        loop {
            if meter.stop.is_raised() {
                return Err(Error::Other("interrupted".into()));
            }
            let slice = NextTimeout { after: SLICE.min(left).into(), per_read: None, ..whole };
            match self.inner.await_input(slice) {
                Err(Error::Timeout(_)) if left > SLICE => left -= SLICE,
                Err(Error::Timeout(_)) => return Err(Error::Timeout(whole.reason)),
                Err(e) => return Err(e),
                Ok(any) => {
                    let after = self.inner.buffers().input().len();
                    meter.ledger.count(0, after.saturating_sub(before));
                    return Ok(any);
                }
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
