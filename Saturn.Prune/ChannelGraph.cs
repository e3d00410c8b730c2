using Saturn.Engine;
using Saturn.Engine.Autograd;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers;

namespace Saturn.Prune;

/// <summary>
/// Who produces and who reads the channels of every unit group, found by tracing one forward pass on the tape; layer names play no part. Operations that the
/// graph does not know pin the channels around them, so that an unknown operation costs sparsity and never correctness.
/// </summary>
public sealed class ChannelGraph
{
    private readonly List<UnitGroup> groups = [];
    private readonly List<LayerCost> layers = [];
    private readonly Dictionary<long, Flow> flows = [];

    private ChannelGraph()
    {
    }

    /// <summary>The unit groups, in the order in which the forward pass reaches them.</summary>
    public IReadOnlyList<UnitGroup> Groups => groups;

    /// <summary>The convolutions and linear layers with their arithmetic, in the order of the forward pass.</summary>
    public IReadOnlyList<LayerCost> Layers => layers;

    /// <summary>
    /// Traces a model in evaluation mode on one blank image, and links every producer to its group's activity record, by which the noise is masked.
    /// </summary>
    /// <param name="model">The model; its mode is restored.</param>
    /// <param name="inputShape">The shape of a batch; the batch extent is not used.</param>
    public static ChannelGraph Trace(Module model, Shape inputShape)
    {
        ChannelGraph graph = new();
        bool training = model.IsTraining;
        model.SetTraining(false);
        try
        {
            using TensorScope scope = new();
            int first = Tape.Current.Count;
            model.Forward(Tensor.Zeros(model.Device, inputShape.With(0, 1)));
            for (int i = first; i < Tape.Current.Count; i++)
            {
                graph.Visit(Tape.Current[i]);
            }
        }
        finally
        {
            model.SetTraining(training);
        }

        foreach (ChannelActivity activity in model.Activities)
        {
            activity.Reset();
        }

        foreach (UnitGroup group in graph.groups)
        {
            foreach (Parameter producer in group.Producers)
            {
                producer.RowActivity = group.Activity;
            }
        }

        return graph;
    }

    private void Visit(Node node)
    {
        Flow output = new();
        switch (node)
        {
            case ConvolutionNode convolution:
                VisitConvolution(convolution, output);
                break;
            case BatchNormNode norm:
                VisitBatchNorm(norm, output);
                break;
            case ActivationNode { Activity: { } activity }:
                output.TakePreActivation(FlowOf(node, 0));
                output.Group = CreateGroup(activity, output);
                break;
            case ResidualAddNode sum:
                output.TakePreActivation(FlowOf(node, 0));
                AddShortcut(FlowOf(node, 1), sum.Shortcut, null, output);
                break;
            case BinaryNode { Kind: BinaryOperation.Add } when node.Input(1).Parameter is { } shift && shift.Shape.Rank == 1 && shift.Rows == node.Output.Shape.Channels:
                output.TakePreActivation(FlowOf(node, 0));
                output.Producers.Add(shift);
                break;
            case PoolingNode or DropoutNode:
                output = FlowOf(node, 0);
                break;
            case ReshapeNode when node.Input(0).Shape.Rank == 4 && node.Output.Shape.Rank == 2 && node.Input(0).Shape[0] == node.Output.Shape[0]:
                output = FlowOf(node, 0).Flattened(node.Input(0).Shape[1] * node.Input(0).Shape[2]);
                break;
            case ConcatenationNode:
                VisitConcatenation(node, output);
                break;
            default:
                for (int i = 0; i < node.InputCount; i++)
                {
                    FlowOf(node, i).Pin($"{node.GetType().Name} reads it, which the channel graph does not know");
                }

                output.PinnedBecause = $"{node.GetType().Name} produces it, which the channel graph does not know";
                break;
        }

        flows[node.Output.Id] = output;
    }

    private void VisitConvolution(ConvolutionNode node, Flow output)
    {
        Parameter? weight = node.Input(1).Parameter;
        Parameter? bias = node.InputCount > 2 ? node.Input(2).Parameter : null;
        Flow input = FlowOf(node, 0);
        ConvolutionShape shape = node.Shape;
        if (weight is null || (node.InputCount > 2 && bias is null))
        {
            input.Pin("it is read by a convolution whose weight is no parameter");
            output.PinnedBecause = "it comes from a convolution whose weight is no parameter";
            return;
        }

        layers.Add(new LayerCost(
            weight.Name.EndsWith(".weight", StringComparison.Ordinal) ? weight.Name[..^7] : weight.Name, weight.Shape.ToArray(), weight.Shape.ElementCount,
            2 * shape.MultiplyAdds / shape.Batch));
        if (shape.Groups > 1)
        {
            input.Pin($"{weight.Name} convolves it in {shape.Groups} groups");
            output.PinnedBecause = $"{weight.Name} convolves in {shape.Groups} groups";
        }

        output.Producers.Add(weight);
        if (bias is not null)
        {
            output.Producers.Add(bias);
        }

        foreach (Segment segment in input.Segments())
        {
            Reader reader = new(weight, bias, input.Positions, segment.Offset, input.Channels(segment));
            segment.Group.ReaderList.Add(reader);
            output.Readers.Add(reader);
        }
    }

    private void VisitBatchNorm(BatchNormNode node, Flow output)
    {
        output.TakePreActivation(FlowOf(node, 0));
        var (gamma, beta, runningMean, runningVariance) = node.Parameters;
        foreach (Parameter? parameter in (Parameter?[])[gamma, beta, runningMean, runningVariance])
        {
            if (parameter is not null)
            {
                output.Producers.Add(parameter);
            }
        }

        foreach (Reader reader in FlowOf(node, 0).Readers)
        {
            reader.RunningMean = runningMean;
        }

        if (node.ResidualInput >= 0)
        {
            AddShortcut(FlowOf(node, node.ResidualInput), node.Shortcut, beta, output);
        }

        if (node.Activity is not null)
        {
            output.Group = CreateGroup(node.Activity, output);
        }
    }

    private static void AddShortcut(Flow source, Shortcut? link, Parameter? beta, Flow output)
    {
        if (source.Group is { } group)
        {
            if (link is null || source.Positions != 1)
            {
                group.PinnedBecause ??= "a sum reads it without a shortcut object, so its channels cannot be renumbered";
                output.PinnedBecause ??= "a sum without a shortcut object produces it";
                return;
            }

            output.Shortcuts.Add(new ShortcutEdge(link, group, beta));
            return;
        }

        if (source.Concatenated is not null)
        {
            source.Pin("a sum reads a concatenation");
            output.PinnedBecause ??= "a sum reads a concatenation";
        }

        output.TakePreActivation(source);
    }

    private void VisitConcatenation(Node node, Flow output)
    {
        output.Concatenated = [];
        int offset = 0;
        for (int i = 0; i < node.InputCount; i++)
        {
            Flow part = FlowOf(node, i);
            if (part.Group is { } group && part.Positions == 1)
            {
                output.Concatenated.Add(new Segment(group, offset));
            }
            else
            {
                part.Pin("a concatenation reads it before an activation");
            }

            offset += node.Input(i).Shape.Channels;
        }

        output.Width = offset;
    }

    private UnitGroup CreateGroup(ChannelActivity activity, Flow flow)
    {
        UnitGroup group = new(activity) { PinnedBecause = flow.PinnedBecause };
        group.ProducerList.AddRange(flow.Producers);
        foreach (ShortcutEdge edge in flow.Shortcuts)
        {
            edge.Target = group;
            edge.Source.OutgoingList.Add(edge);
            group.IncomingList.Add(edge);
        }

        groups.Add(group);
        return group;
    }

    private Flow FlowOf(Node node, int input)
    {
        long id = node.Input(input).Id;
        if (!flows.TryGetValue(id, out Flow? flow))
        {
            flows[id] = flow = new Flow();
        }

        return flow;
    }

    private readonly record struct Segment(UnitGroup Group, int Offset);

    /// <summary>What is known of the channels of one value on the tape.</summary>
    private sealed class Flow
    {
        /// <summary>The group, if the value is one's output (or a pooled, flattened view of it).</summary>
        public UnitGroup? Group { get; set; }

        public int Positions { get; init; } = 1;

        public List<Segment>? Concatenated { get; set; }

        public int Width { get; set; }

        /// <summary>Parameters whose rows are these channels, while no activation has closed the list.</summary>
        public List<Parameter> Producers { get; } = [];

        public List<ShortcutEdge> Shortcuts { get; } = [];

        /// <summary>The readers that made this value, so that a following norm can tell them its running mean.</summary>
        public List<Reader> Readers { get; } = [];

        public string? PinnedBecause { get; set; }

        public void TakePreActivation(Flow other)
        {
            if (other.Group is not null || other.Concatenated is not null)
            {
                other.Pin("it is read by a normalization or activation of its own");
                PinnedBecause ??= "it follows another group without a weight between";
                return;
            }

            Producers.AddRange(other.Producers);
            Shortcuts.AddRange(other.Shortcuts);
            PinnedBecause ??= other.PinnedBecause;
        }

        public IEnumerable<Segment> Segments() => Concatenated ?? (Group is null ? [] : [new Segment(Group, 0)]);

        /// <summary>Columns from one flattened position to the next.</summary>
        public int Channels(Segment segment) => Concatenated is null ? segment.Group.Channels : Width;

        public Flow Flattened(int positions) => new()
        {
            Group = Group,
            Positions = Positions * positions,
            Concatenated = Concatenated,
            Width = Width,
            PinnedBecause = PinnedBecause,
        };

        public void Pin(string reason)
        {
            foreach (Segment segment in Segments())
            {
                segment.Group.PinnedBecause ??= reason;
            }
        }
    }
}

/// <summary>One convolution or linear layer.</summary>
/// <param name="Name">The layer's name.</param>
/// <param name="WeightShape">[out, kernelHeight, kernelWidth, in] or [out, in].</param>
/// <param name="Parameters">Weights, without the bias.</param>
/// <param name="Flops">Forward floating-point operations an image, two a multiply-add.</param>
public sealed record LayerCost(string Name, int[] WeightShape, long Parameters, long Flops);
