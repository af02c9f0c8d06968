// Package lan is the Pi's ear on the house's network: it takes heartbeats and
// announcements of the nodes there, and relays the brain's connections to the machines of
// the plan.
//
// It decides nothing about outages, and must not import another adapter.
package lan
