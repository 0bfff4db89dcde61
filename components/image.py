"""The image of all pods: built from this checkout into the account's own registry, or one that is given."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_docker_build as docker_build

from components import locked
from components.image_inputs import BUILD, DOCKERFILE, build_args, content_tag

if TYPE_CHECKING:
    from components.stack import Stack

ROOT = Path(__file__).parent.parent

KEPT_IMAGES = 10
"""The newest builds. A stack runs the newest one, unless it went back to an older checkout."""

LIFECYCLE: dict[str, list[dict[str, Any]]] = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "what a push left behind that did not end",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 1,
            },
            "action": {"type": "expire"},
        },
        {
            "rulePriority": 2,
            "description": "old builds",
            "selection": {
                "tagStatus": "tagged",
                "tagPatternList": ["*"],
                "countType": "imageCountMoreThan",
                "countNumber": KEPT_IMAGES,
            },
            "action": {"type": "expire"},
        },
    ]
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageArgs:
    """What decides where the image comes from, and how it lies there.

    Attributes:
        stack: says whether the image is built or given.
        key_arn: key that a built one is encrypted with; ECR's own for None.
    """

    stack: Stack
    key_arn: pulumi.Output[str] | None = None


class Image(pulumi.ComponentResource):
    """What the nodes pull: by digest where it was built here, else as the stack file has it.

    A build needs Docker where `pulumi up` runs, and happens only when something in the image is new.
    """

    reference: pulumi.Output[str]

    def __init__(self, name: str, args: ImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Image", name, None, opts)
        given = args.stack.settings.image
        self.reference = (
            self._built(name, args.key_arn) if given == BUILD else pulumi.Output.from_input(given)
        )
        self.register_outputs({"reference": self.reference})

    def _built(self, name: str, key_arn: pulumi.Output[str] | None) -> pulumi.Output[str]:
        child = pulumi.ResourceOptions(parent=self)
        repository = aws.ecr.Repository(
            name,
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[
                {"encryption_type": "AES256"}
                if key_arn is None
                else {"encryption_type": "KMS", "kms_key": key_arn}
            ],
            # All that is in it can be built again, and would be billed.
            force_delete=True,
            opts=child,
        )
        aws.ecr.LifecyclePolicy(name, repository=repository.name, policy=json.dumps(LIFECYCLE), opts=child)
        login = aws.ecr.get_authorization_token_output(
            registry_id=repository.registry_id, opts=pulumi.InvokeOutputOptions(parent=self)
        )
        arguments = build_args(locked.read())
        image = docker_build.Image(
            name,
            # Relative to the project's folder, so that another person's checkout is no difference.
            context={"location": "."},
            dockerfile={"location": DOCKERFILE},
            build_args=arguments,
            platforms=[docker_build.Platform.LINUX_AMD64],
            tags=[pulumi.Output.concat(repository.repository_url, ":", content_tag(ROOT, arguments))],
            push=True,
            # A preview changes nothing, and takes no minutes.
            build_on_preview=False,
            registries=[
                {
                    "address": repository.repository_url,
                    "username": login.user_name,
                    "password": pulumi.Output.secret(login.password),
                }
            ],
            # It goes with its repository. By itself it would be deleted with the password of the last `up`,
            # which holds for 12 hours.
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
        )
        return pulumi.Output.concat(repository.repository_url, "@", image.digest)
