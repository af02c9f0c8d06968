// Package tailnet makes a program a machine of its own on a Tailscale network: it comes up in the background,
// listens there, dials peers and nothing else, and says who is calling.
//
// It knows nothing of what is said over the connections, and imports no other package of this module. Whoever
// can, declares an interface or a function field for the few methods it needs, so that its tests need no tailnet.
package tailnet
