"""What is said when weights cannot be had: one sentence each, which says what to do."""

import errno
from collections.abc import Mapping
from typing import Any

CLASSES = {
    "GatedRepoError": "gated",
    "RepositoryNotFoundError": "not_found",
    "RevisionNotFoundError": "revision",
    "HFValidationError": "name",
    "OfflineModeIsEnabled": "offline",
    "TransportError": "unreachable",
    "ConnectionError": "unreachable",
    "Timeout": "unreachable",
    "ModuleNotFoundError": "no_hub",
}
"""The classes of huggingface_hub, httpx and requests; the nearest base counts."""
STATUSES = {401: "denied", 403: "refused", 429: "busy"}
ERRNOS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "disk_full"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "read_only"),
}
AGAIN = "start again; files that are complete are kept"
SENTENCES = {
    "gated": "{what} is gated: open {page}, accept its conditions, and set HF_TOKEN to a token "
    "of that account",
    "gated, token": "{what} is gated and the account of HF_TOKEN has no access: open {page} with "
    "that account, accept its conditions, and start again once access is granted",
    "not_found": "{what} is not on the Hugging Face Hub or is private: check the name, and for a "
    "private model set HF_TOKEN to a token that may read it",
    "not_found, token": "{what} is not on the Hugging Face Hub or is private: check the name, and "
    "for a private model that the token in HF_TOKEN may read it",
    "revision": "model {model} has no revision {revision}: set revision to a branch, tag or commit "
    "that {page}/tree/main lists",
    "name": "{what} is neither a folder nor a name on the Hugging Face Hub: give ORG/NAME or the "
    "absolute path of a folder",
    "denied": "the Hugging Face Hub does not accept HF_TOKEN for {what}: make a new token at "
    "https://huggingface.co/settings/tokens and set HF_TOKEN to it",
    "refused": "the Hugging Face Hub refuses {what}: {detail}; see {page}",
    "offline": "HF_HUB_OFFLINE is set and {hf_home} does not hold all of {what}: unset it until "
    "the weights are downloaded, or set hf_home to where they are",
    "unreachable": "the Hugging Face Hub cannot be reached for {what} ({detail}): check network, "
    "proxy and HF_ENDPOINT, or download the weights elsewhere into hf_home and set "
    "HF_HUB_OFFLINE=1",
    "busy": "the Hugging Face Hub limits how often it is asked (429) for {what}: wait some "
    "minutes and start again, with HF_TOKEN set, which raises the limit",
    "down": "the Hugging Face Hub is out of order (it answered {status}) for {what}: start again "
    "later",
    "interrupted": f"the download of {{what}} broke off ({{detail}}): {AGAIN}",
    "disk_full": "the disk of {hf_home} is full: {what} takes {size} GB there; free as much, or "
    f"set hf_home to a bigger disk, and {AGAIN}",
    "read_only": "{hf_home} cannot be written for {what} ({detail}): give this user the right to, "
    "or set hf_home to another folder",
    "no_folder": "{what} is a path, but there is no such folder: put the model there, on every "
    "node that runs it, or on a disk that they share",
    "no_config": "{folder} has no config.json, so it is no model: give the folder that holds "
    "config.json and the weights",
    "no_weights": "{folder} has no weights ({detail}): complete it, or set load_format to what is "
    "there",
    "missing": "{folder} lacks {detail}, which its index lists: copy or download the model again",
    "no_hub": "{python} has no huggingface_hub, which downloads {what}: run {python} -m pip "
    "install 'huggingface_hub>=2.4'",
    "other": "{what} could not be downloaded ({detail}): set that right, and " + AGAIN,
}


def sentence(
    said: Mapping[str, Any], *, model: str, revision: str | None, hf_home: str, python: str
) -> str:
    """The sentence for what `node.fetch` printed as its ``fault``."""
    kind = _kind(said)
    fields = {
        "what": f"model {model}" + (f" (revision {revision})" if revision else ""),
        "model": model,
        "revision": revision,
        "page": f"https://huggingface.co/{model}",
        "hf_home": hf_home,
        "python": python,
        "size": round(said.get("total", 0) / 1e9, 3),
        **said,
    }
    with_token = f"{kind}, token"
    known = with_token if said.get("token") and with_token in SENTENCES else kind
    return SENTENCES[known].format_map(fields)


def _kind(said: Mapping[str, Any]) -> str:
    if said["fault"] != "raised":
        return str(said["fault"])
    for name in said["classes"]:
        if kind := CLASSES.get(name):
            return "interrupted" if kind == "unreachable" and said["downloading"] else kind
    if status := said["status"]:
        return "down" if status >= 500 else STATUSES.get(status, "other")
    return ERRNOS.get(said["errno"], "other")
