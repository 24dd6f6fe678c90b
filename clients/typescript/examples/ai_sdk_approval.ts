// AI SDK: a call without a consent asks for approval, which is given once the user has consented.
//
// npm install @countersign/client ai zod

import { Countersign } from "@countersign/client";
import { generateText, isStepCount, tool, type LanguageModel, type ModelMessage, type ToolApprovalResponse } from "ai";
import { z } from "zod";

const countersign = new Countersign();
const TOOL = "Github.StarRepo";

export async function run(model: LanguageModel, user: string, question: string): Promise<string> {
  const star_repo = tool({
    description: "Star a GitHub repository for the user.",
    inputSchema: z.object({ owner: z.string(), repo: z.string() }),
    execute: (input, { toolCallId }) => countersign.execute(TOOL, input, user, { idempotencyKey: toolCallId }),
  });
  const messages: ModelMessage[] = [{ role: "user", content: question }];
  for (;;) {
    const result = await generateText({
      model,
      messages,
      tools: { star_repo },
      stopWhen: isStepCount(10),
      toolApproval: {
        star_repo: async () => {
          const { status } = await countersign.authorize({ tool: TOOL }, user);
          return status === "completed" ? "not-applicable" : "user-approval";
        },
      },
    });
    // An application keeps the messages, and goes on when its user comes back.
    messages.push(...result.response.messages);
    const answers: ToolApprovalResponse[] = [];
    for (const part of result.content) {
      if (part.type !== "tool-approval-request") continue;
      // The link of the open authorization again, or the end of it.
      const asked = await countersign.authorize({ tool: TOOL }, user);
      if (asked.url) console.log(`Open this link: ${asked.url}`);
      const outcome = await countersign.wait(asked);
      const approved = outcome.status === "completed";
      const why = outcome.status === "failed" ? outcome.reason : "the user has not opened the link.";
      const { approvalId } = part;
      answers.push({ type: "tool-approval-response", approvalId, approved, ...(!approved && { reason: `Not done: ${why}` }) });
    }
    if (answers.length === 0) return result.text;
    messages.push({ role: "tool", content: answers });
  }
}
