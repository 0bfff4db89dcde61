"""What is noticed without anybody looking: alarms, one dashboard, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components import account, alarms
from components.dashboard import Subject, dashboard
from components.metrics import PERIOD_SECONDS, Queues
from components.model_queue import RETENTION_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.alarms import Alarm
    from components.model_queue import ModelQueue
    from components.model_store import ModelStore
    from components.nodes import Nodes
    from components.sections import Alerts
    from components.stack import Stack

CLUSTER_TAG = "aws:eks:cluster-name"
"""EKS puts it on each instance of a cluster (EKS user guide, "Tag your resources for billing")."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchArgs:
    """The stack says who is told; nodes, store and the queue of each model are what is watched.

    Attributes:
        key_arn: key that messages are encrypted with until they are sent; none for None.
    """

    stack: Stack
    nodes: Nodes
    store: ModelStore
    queues: Mapping[str, ModelQueue]
    key_arn: pulumi.Output[str] | None = None


class Watch(pulumi.ComponentResource):
    """An alarm for each way in which documents, time or money are lost, and a dashboard that shows them.

    All of it is there with and without `alerts`: those decide who is told.
    """

    def __init__(self, name: str, args: WatchArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Watch", name, None, opts)

        settings = args.stack.settings
        told: list[pulumi.Output[str]] = []
        if settings.alerts is not None:
            told = [self._topic(name, args, settings.alerts)]
            if settings.alerts.monthly_budget is not None:
                self._budget(name, args.stack.cluster_name, settings.alerts.monthly_budget, told)
        queues = {model: _names(queue) for model, queue in args.queues.items()}
        groups = args.nodes.scaling_groups
        shown = [
            self._alarm(name, alarm, told).arn
            for model in settings.models
            for alarm in alarms.of_model(model, settings, queues[model.name], kept_seconds=RETENTION_SECONDS)
        ]
        shown.append(self._alarm(name, alarms.of_files(args.store.file_system_id), told).arn)
        for pool in settings.pools:
            parts = alarms.of_pool(pool, settings, scaling_group=groups[pool.instance_type], queues=queues)
            if parts:
                alarm_name = f"{args.stack.cluster_name}-idle-{pool.key}"
                shown.append(self._together(name, alarm_name, parts, told))
        body = dashboard(
            Subject(
                region=args.stack.region,
                alarms=shown,
                queues=queues,
                scaling_groups=groups,
                file_system=args.store.file_system_id,
            )
        )
        aws.cloudwatch.Dashboard(
            name,
            # Its name is the only one in all regions of an account.
            dashboard_name=f"{args.stack.cluster_name}-{args.stack.region}",
            dashboard_body=pulumi.Output.json_dumps(body),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})

    def _alarm(
        self, name: str, alarm: Alarm, told: Sequence[pulumi.Output[str]]
    ) -> aws.cloudwatch.MetricAlarm:
        """The alarm itself; its end is told, too."""
        queries = [
            aws.cloudwatch.MetricAlarmMetricQueryArgs(
                id=key,
                return_data=key == alarm.expression,
                metric=aws.cloudwatch.MetricAlarmMetricQueryMetricArgs(
                    namespace=metric.namespace,
                    metric_name=metric.name,
                    dimensions=metric.dimensions,
                    stat=metric.statistic,
                    period=PERIOD_SECONDS,
                ),
            )
            for key, metric in alarm.metrics.items()
        ]
        if alarm.expression not in alarm.metrics:
            queries.append(
                aws.cloudwatch.MetricAlarmMetricQueryArgs(
                    id="alarm", expression=alarm.expression, label=alarm.name, return_data=True
                )
            )
        return aws.cloudwatch.MetricAlarm(
            f"{name}-{alarm.name}",
            alarm_description=alarm.description,
            metric_queries=queries,
            comparison_operator="GreaterThanThreshold",
            threshold=alarm.above,
            evaluation_periods=alarm.seconds // PERIOD_SECONDS,
            treat_missing_data="notBreaching",
            alarm_actions=told,
            ok_actions=told,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _together(
        self, name: str, alarm_name: str, parts: Sequence[Alarm], told: Sequence[pulumi.Output[str]]
    ) -> pulumi.Output[str]:
        """The ARN of the one alarm that all parts are; nobody is told of a part alone."""
        if len(parts) == 1:
            return self._alarm(name, parts[0], told).arn
        arns = [self._alarm(name, part, ()).arn for part in parts]
        return aws.cloudwatch.CompositeAlarm(
            name,
            alarm_name=alarm_name,
            alarm_description=parts[0].description,
            alarm_rule=pulumi.Output.all(*arns).apply(
                lambda arns: " AND ".join(f'ALARM("{arn}")' for arn in arns)
            ),
            alarm_actions=told,
            ok_actions=told,
            opts=pulumi.ResourceOptions(parent=self),
        ).arn

    def _topic(self, name: str, args: WatchArgs, alerts: Alerts) -> pulumi.Output[str]:
        """The ARN of the topic that a reader has subscribed to, once its senders may write to it."""
        child = pulumi.ResourceOptions(parent=self)
        # Never `alias/aws/sns`: that key admits no service, and what they send would be lost without a word.
        topic = aws.sns.Topic(
            name, display_name=args.stack.cluster_name, kms_master_key_id=args.key_arn, opts=child
        )
        senders = {
            "cloudwatch": account.arn("cloudwatch", args.stack.region, "alarm:*", child),
            "budgets": account.arn("budgets", "", "*", child),
        }
        identity = aws.get_caller_identity_output(opts=pulumi.InvokeOutputOptions(parent=self))
        policy = aws.sns.TopicPolicy(
            name,
            arn=topic.arn,
            policy=pulumi.Output.json_dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": f"From{sender.capitalize()}",
                            "Effect": "Allow",
                            "Principal": {"Service": f"{sender}.amazonaws.com"},
                            "Action": "sns:Publish",
                            "Resource": topic.arn,
                            "Condition": {
                                "StringEquals": {"aws:SourceAccount": identity.account_id},
                                "ArnLike": {"aws:SourceArn": source},
                            },
                        }
                        for sender, source in senders.items()
                    ],
                }
            ),
            opts=child,
        )
        aws.sns.TopicSubscription(name, topic=topic.arn, protocol="email", endpoint=alerts.email, opts=child)
        # Not the topic's: AWS Budgets refuses one that it may not write to.
        return policy.arn

    def _budget(self, name: str, cluster: str, dollars: int, told: Sequence[pulumi.Output[str]]) -> None:
        """Tells when the nodes of this month have cost most of the budget, or are about to cost more."""
        aws.budgets.Budget(
            name,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(dollars),
            limit_unit="USD",
            metrics="UnblendedCost",
            filter_expression={"tags": {"key": CLUSTER_TAG, "values": [cluster]}},
            notifications=[
                {
                    "notification_type": kind,
                    "comparison_operator": "GREATER_THAN",
                    "threshold": percent,
                    "threshold_type": "PERCENTAGE",
                    "subscriber_sns_topic_arns": told,
                }
                for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )


def _names(queue: ModelQueue) -> Queues:
    return Queues(*(arn.apply(_name) for arn in (queue.arn, queue.dead_letter_arn, queue.undelivered_arn)))


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]
