// Package twiliosim is a simulated Twilio REST API (2010-04-01): a real HTTP
// server with accounts, calls that ring and are answered over time, keys that are
// pressed in them, messages, Twilio's errors, and faults on demand.
//
// It runs on any listener, or without sockets through [Server.Transport], which
// also works inside testing/synctest bubbles. It is reached only from tests and
// the lab, and must not import the adapter it is there to test.
//
// Facts are from Twilio's OpenAPI document and guides. Where they say nothing
// (the code for a wrong parameter type) it refuses with 20001. Only a call that asks
// for keys is played verb by verb; any other says its text when it is taken.
package twiliosim
