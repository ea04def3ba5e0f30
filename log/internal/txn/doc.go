// Package txn is the transaction coordinator's core.
package txn
