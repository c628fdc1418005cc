//! The long texts of `--help`: examples, exit codes, environment.

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed, after all retries that make sense
  2    the command line cannot be meant like this
  3    refused by the gateway's policy, its plan, or what it holds already
  4    not authorised, or the gateway's certificate is not trusted
  5    bytes are not what they must be: a damaged stream, a changed source, a wrong content root
  130  interrupted

Environment:
  RSNAP_GATEWAY             instead of --gateway
  RSNAP_TOKEN               instead of --token
  RSNAP_TOKEN_FILE          instead of --token-file
  RSNAP_CLIENT_CERTIFICATE  instead of --client-certificate
  RSNAP_CLIENT_KEY          instead of --client-key
  RSNAP_CA                  instead of --ca";

pub(super) const SEND_EXAMPLES: &str = "\
Examples:
  Send a snapshot in full; zeroes are not sent:
    rsnap send snap1.raw --volume V --snapshot S1
  Send what changed since an earlier one. The gateway decides whether it can use it:
    rsnap send snap2.raw --volume V --snapshot S2 --base SOURCE-S1=snap1.raw
  From Ceph, what changed since the newest snapshot of the image that the gateway has too:
    rsnap send rbd:volumes/volume-X@snap3 --volume V --snapshot S3
  From Ceph, where rsnap cannot reach the cluster, as a stream:
    rbd export-diff volumes/volume-X@snap1 - |
      rsnap send - --format rbd-diff --volume V --snapshot S1
  From Ceph, all snapshots of a volume at once, oldest first:
    rbd export --export-format 2 volumes/volume-X - |
      rsnap send - --format rbd-export --volume V --snapshot S1,S2

The source must not change while it is read: use a snapshot, and keep it until the command ends. For a file this is \
checked by its size and times before the end is sent, in Ceph by the snapshot's number; for a block device it cannot be \
checked.

A snapshot in Ceph is read with the right to read alone (profile rbd-read-only). With more it is protected meanwhile, \
unless it is already. Its earlier snapshots prove themselves by their numbers, without being read. The library librbd1 \
must be installed. A file whose name begins with rbd: is written ./rbd:….

What may heal (a broken connection, a busy or restarting gateway) is tried again. What comes through a pipe can be \
read only once, so there only what happens before the first byte is tried again.";

pub(super) const RESTORE_EXAMPLES: &str = "\
Examples:
  rsnap restore --volume V --snapshot S1 disk.raw
  rsnap restore --volume V --snapshot S1 /dev/vdb
  rsnap restore --volume V --snapshot S2 --format rbd-diff --base S1 - |
    rbd import-diff - volumes/volume-Y

A file appears under its name only when it is whole, durable, and has the content root that the gateway recorded. What \
goes to a block device or to a pipe cannot be held back: there a difference is an error at the end (exit code 5).";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  Do two sites hold the same?
    rsnap verify --volume V --snapshot S --other-gateway https://gw.dc1:8443 --other-token-file dc1.token
  Is what the gateway holds what lies here?
    rsnap verify disk.raw --volume V --snapshot S
  Is what the gateway has stored still what was committed?
    rsnap verify --deep --volume V --snapshot S

A comparison descends the content trees of both sides and fetches only what differs, each page proven by the one above \
it, up to the content root: it costs the difference and not the volume, and nobody has to be believed. A local image is \
read once. Extents are of 64 KiB.

A tree tells what was committed. With --deep the gateway also reads all that it has stored and compares it with the \
tree, beside its transfers and slower while there are any; with --other-gateway that one does, too. What the gateway's \
system holds in memory is read from there and not from the disk.

Where something differs or is damaged, the exit code is 5.";

pub(super) const REPAIR_EXAMPLES: &str = "\
Examples:
  From another site that holds the same snapshot:
    rsnap repair --volume V --snapshot S --other-gateway https://gw.dc1:8443 --other-token-file dc1.token
  From an image that lies here:
    rsnap repair disk.raw --volume V --snapshot S

The gateway first reads all that it has stored (as verify --deep); what it finds damaged is sent again and nothing else. \
It takes only bytes with exactly the hashes that were recorded at the commit: a repair heals a snapshot and cannot change \
it, whoever sends. It may be interrupted and started again.

Snapshots in Ceph are read-only: there Ceph repairs from its own copies, or the snapshot is deleted and sent again. So it \
is where the content tree itself is damaged, or a file is gone.";

pub(super) const PLUGIN_RUN_EXAMPLES: &str = "\
Examples:
  Ask a policy. The question can be written from the example:
    rsnap plugin run my-policy.wasm --example > question.json
    rsnap plugin run my-policy.wasm < question.json
  Ask a resolver for a site, with the sites of a file:
    rsnap plugin run static dc1 --settings sites.toml
  Send an image through a writer, and a change after it; what it stored is in files below `out`:
    rsnap plugin run my-writer.wasm --stream disk.raw --snapshot monday --into out
    rbd export-diff --from-snap mon volumes/volume-X@tue - |
      rsnap plugin run my-writer.wasm --stream - --format rbd-diff --snapshot tuesday --base monday --into out

What the plugin logs is shown on standard error. Components from Python or JavaScript need more memory than the \
default: --memory 256MiB.";
