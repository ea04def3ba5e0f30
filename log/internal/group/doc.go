// Package group is the group coordinator's core.
package group
