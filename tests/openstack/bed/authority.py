"""Certificates of both sites, signed by an authority that is made for one run."""

from .process import run

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "openssl.out"
        self.certificate = folder / "authority.pem"
        self.key = folder / "authority.key"
        request = ["openssl", "req", "-x509", *CURVE, "-keyout", self.key, "-out", self.certificate]
        run([*request, "-subj", "/CN=authority of the test bed", "-days", "30"], self.log)

    def sign(self, name, names):
        """Certificate (with the chain) and key for these names, and both in one file, as HAProxy wants it."""
        certificate, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        run(["openssl", "req", *CURVE, "-keyout", key, "-out", request, "-subj", f"/CN={name}"], self.log)
        extensions = self.folder / f"{name}.extensions"
        extensions.write_text(f"subjectAltName={','.join(names)}\n", encoding="utf-8")
        signed = ["openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key]
        run([*signed, "-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", certificate], self.log)
        both = self.folder / f"{name}.both.pem"
        both.write_text(certificate.read_text() + key.read_text(), encoding="utf-8")
        return certificate, key, both
