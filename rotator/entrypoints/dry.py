"""``--dry-run``: gather and decide, then print. Nothing below knows of it: it just never calls apply."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from rotator.bootstrap import Application
from rotator.domain.actions import Action
from rotator.domain.model import Policy
from rotator.domain.planner import Plan
from rotator.domain.request_actions import CheckInbox
from rotator.domain.verdict import Decision
from rotator.entrypoints import exits
from rotator.entrypoints.render import plans_as_json, print_plans
from rotator.errors import RotatorError


def dry_run(application: Application, style: str) -> int:
    """Print what a pass over every policy would do now; returns the exit code.

    Policies that are not due are looked at too: whoever asks for a plan wants to know what is there.
    """

    def look(policy: Policy) -> Plan | tuple[str, str]:
        try:
            return application.reconciler.preview(policy)
        except RotatorError as error:
            return policy.name, str(error)

    with ThreadPoolExecutor(max_workers=application.settings.service.workers, thread_name_prefix="look") as pool:
        results = list(pool.map(look, application.settings.policies))
    plans = [result for result in results if isinstance(result, Plan)]
    failures = [result for result in results if not isinstance(result, Plan)]
    if style == "json":
        sys.stdout.write(plans_as_json(plans, failures, application.clock.now()))
    else:
        print_plans(plans, failures)
        sys.stdout.write(_summary(plans, failures) + "\n")
    if failures or any(plan.verdict.decision in {Decision.BLOCKED, Decision.REFUSED} for plan in plans):
        return exits.FAILED
    return exits.FOUND if any(_work(plan) for plan in plans) else exits.OK


def _summary(plans: list[Plan], failures: list[tuple[str, str]]) -> str:
    work = sum(bool(_work(plan)) for plan in plans)
    trouble = len(failures) + sum(plan.verdict.decision in {Decision.BLOCKED, Decision.REFUSED} for plan in plans)
    return f"{len(plans) + len(failures)} policies, {work} with work to do, {trouble} in trouble; nothing was changed"


def _work(plan: Plan) -> list[Action]:
    """What is to be done; to look into an inbox, as every look does, is no work."""
    return [action for action in plan.actions if not isinstance(action, CheckInbox)]
