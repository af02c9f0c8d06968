// Package root is what the Pi may ask of root, and nothing else: three verbs over a socket
// that only the Pi's user can open. "sentinel-pi root" serves one question on the
// connection that systemd hands it; Ask is the Pi's side.
//
// A question is one line, a verb; the answer is one line, "ok" or "error: ...". What is no
// verb changes nothing.
//
// It decides nothing: when to halt is the guardian's. It must not import another package of
// the Pi.
package root
